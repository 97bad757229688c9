"""The extended models' losses against their equations in plain numpy, as test_losses.py does for the six."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from disentangle_bench.models.model import Noise
from support.by_numpy import B, D, build, cross_entropy, forward, gaussian_parts, losses, mse, normal_kl, numbers


def test_ae():
    model, x = build("ae")
    z = model.encoder(x)
    got, logs = losses(model, x)
    assert got == {"autoencoder": pytest.approx(mse(model.decoder(z), x), rel=1e-12)}
    assert logs == {"mse": got["autoencoder"]}
    assert torch.equal(model.encode(x).values, z)


def test_bio_ae():
    model, x = build("bio_ae", nonneg_weight=0.6, activity_weight=0.2)
    model.encoder[-1].bias.data -= model.encoder(x).detach().mean(0)  # codes of both signs
    z = numbers(model.encoder(x))
    assert (z < 0).any()
    assert (z > 0).any()
    expected = mse(model.decoder(torch.from_numpy(z)), x) + 0.6 * np.maximum(-z, 0).mean() + 0.2 * (z**2).mean()
    got, _ = losses(model, x)
    assert got == {"autoencoder": pytest.approx(expected, rel=1e-12)}
    np.testing.assert_array_equal(numbers(model.encode(x).values), z)


@pytest.mark.parametrize("gamma", [None, 0.0, 0.7])
def test_dvae_and_factor_dvae(gamma):
    """``dvae`` where there is no gamma."""
    step, k = 30_000, 6
    adversarial = {} if gamma is None else {"gamma": gamma, "discriminator_layers": 2}
    model, x = build("dvae" if gamma is None else "factor_dvae", symbols=k, kl_weight=0.3, **adversarial)
    generator = torch.Generator().manual_seed(2)
    codebook, temperature = numbers(model.codebook)[:, 0], np.exp(-1e-5 * step)
    logits = [numbers(model.encoder(half)).reshape(B, D, k) for half in x.split(B)]
    posterior = softmax(logits[0], axis=2)

    def sample(of):
        uniform = torch.empty((B, D, k), dtype=torch.float64).uniform_(generator=generator).numpy()
        return softmax((of - np.log(-np.log(uniform))) / temperature, axis=2)

    weights = sample(logits[0])
    reconstruction = mse(model.decoder(torch.from_numpy(weights @ codebook)), x[:B])
    expected = reconstruction + 0.3 * np.mean(np.sum(posterior * np.log(k * posterior), axis=2))
    got, _ = losses(model, x, step)
    if gamma:
        other = sample(logits[1])
        order = torch.rand(B, D, generator=generator).argsort(dim=0).numpy()
        shuffled = np.stack([other[order[:, j], j] for j in range(D)], axis=1)
        real, fake = (forward(model.discriminator, w.reshape(B, -1)) for w in (weights, shuffled))
        expected += gamma * np.mean(real[:, 0] - real[:, 1])
        discriminator = 0.5 * (cross_entropy(real, 0) + cross_entropy(fake, 1))
        assert got["discriminator"] == pytest.approx(discriminator, rel=1e-12)
    assert set(got) == ({"autoencoder", "discriminator"} if gamma else {"autoencoder"})
    assert got["autoencoder"] == pytest.approx(expected, rel=1e-12)
    codes, index = model.encode(x[:B]), logits[0].argmax(axis=2)
    np.testing.assert_array_equal(codes.indices, index)
    np.testing.assert_array_equal(numbers(codes.values), codebook[index])


def test_q_vae_is_factor_qvae_without_a_discriminator():
    model, x = build("q_vae", symbols=6, kl_weight=0.3)
    other, _ = build("factor_qvae", symbols=6, kl_weight=0.3, gamma=0.0)
    assert losses(model, x, 30_000) == losses(other, x, 30_000)
    assert torch.equal(model.encode(x).indices, other.encode(x).indices)


def test_fsq():
    model, x = build("fsq", symbols=4)
    model.encoder[-1].weight.data *= 50  # codes that differ between images
    latents = numbers(model.encoder(x))
    latents /= np.sqrt((latents**2).mean(axis=1, keepdims=True) + 1e-5)
    level = (np.tanh(latents) + 1) / 2 * 3
    index = np.rint(level).astype(int)
    assert len(np.unique(index)) > 2
    grid = np.array([-1, -1 / 3, 1 / 3, 1])
    got, _ = losses(model, x)
    expected = mse(model.decoder(torch.from_numpy(grid[index])), x)
    assert got == {"autoencoder": pytest.approx(expected, rel=1e-9)}  # the model's grid was made in float32
    codes = model.encode(x)
    np.testing.assert_array_equal(codes.indices, index)
    np.testing.assert_allclose(numbers(codes.values), grid[index], rtol=1e-7)
    assert not dict(model.named_parameters()).keys() & {"grid"}


def test_fsq_keeps_a_gradient_however_far_its_encoder_was_pushed():
    """The first updates fit the images' mean and push all codes the same way, where a tanh alone would be flat."""
    model, x = build("fsq", symbols=4)
    model.encoder[-1].bias.data += 100.0
    assert model.encoder(x).min() > 50
    loss, _ = model.losses(x, 0, Noise(torch.Generator()))
    loss["autoencoder"].backward()
    assert model.encoder[-1].weight.grad.any()


@pytest.mark.parametrize(("step", "capacity"), [(0, 0.0), (250, 5.0), (1000, 20.0), (5000, 20.0)])
def test_annealed_vae(step, capacity):
    model, x = build("annealed_vae", kl_weight=0.3, capacity=20.0, capacity_steps=1000)
    mean, log_variance, _, reconstruction = gaussian_parts(model, x)
    kl = np.mean([normal_kl(m, v) for m, v in zip(mean, log_variance, strict=True)])
    got, logs = losses(model, x, step)
    assert got == {"autoencoder": pytest.approx(reconstruction + 0.3 * abs(kl - capacity), rel=1e-12)}
    assert logs["kl"] == pytest.approx(kl)


@pytest.mark.parametrize("name", ["dip_vae_i", "dip_vae_ii"])
def test_dip_vae(name):
    model, x = build(name, kl_weight=0.3, lambda_od=5.0, lambda_d=7.0)
    model.encoder[-1].weight.data *= 50  # latents that differ between images
    mean, log_variance, _, reconstruction = gaussian_parts(model, x)
    kl = np.mean([normal_kl(m, v) for m, v in zip(mean, log_variance, strict=True)])
    c = np.cov(mean, rowvar=False, bias=True)
    if name == "dip_vae_ii":
        c += np.diag(np.exp(log_variance).mean(axis=0))
    penalty = sum((7 * (c[i, j] - 1) ** 2 if i == j else 5 * c[i, j] ** 2) for i in range(D) for j in range(D))
    got, logs = losses(model, x)
    assert got == {"autoencoder": pytest.approx(reconstruction + 0.3 * (kl + penalty), rel=1e-12)}
    assert logs["penalty"] == pytest.approx(penalty)
