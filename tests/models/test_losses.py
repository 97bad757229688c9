"""Each model's loss against its equation in plain numpy: no shared functions, networks' outputs taken as given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax

from disentangle_bench.models import gaussian, quantise
from disentangle_bench.models.model import Noise
from support.by_numpy import (
    B,
    D,
    N,
    build,
    cross_entropy,
    forward,
    gaussian_parts,
    losses,
    mse,
    normal_kl,
    numbers,
)


def test_beta_vae():
    model, x = build("beta_vae", kl_weight=0.3)
    mean, log_variance, _, reconstruction = gaussian_parts(model, x)
    kl = np.mean([normal_kl(m, v) for m, v in zip(mean, log_variance, strict=True)])
    got, logs = losses(model, x)
    assert got == {"autoencoder": pytest.approx(reconstruction + 0.3 * kl, rel=1e-12)}
    assert logs == {"mse": pytest.approx(reconstruction), "kl": pytest.approx(kl)}


@pytest.mark.parametrize("layers", [0, 2])
def test_factor_vae(layers):
    model, x = build("factor_vae", kl_weight=0.2, gamma=0.7, discriminator_layers=layers)
    generator = torch.Generator().manual_seed(2)
    statistics = numbers(model.encoder(x[:B])), numbers(model.encoder(x[B:]))

    def sample(s):
        noise = torch.empty((B, D), dtype=torch.float64).normal_(generator=generator).numpy()
        return s[:, :D] + np.exp(s[:, D:] / 2) * noise

    z, other = sample(statistics[0]), sample(statistics[1])
    order = torch.rand(B, D, generator=generator).argsort(dim=0).numpy()
    shuffled = np.stack([other[order[:, j], j] for j in range(D)], axis=1)
    assert all(sorted(shuffled[:, j]) == sorted(other[:, j]) for j in range(D))
    logits = forward(model.discriminator, z)
    kl = np.mean([normal_kl(s[:D], s[D:]) for s in statistics[0]])
    tc = np.mean(logits[:, 0] - logits[:, 1])
    reconstruction = mse(model.decoder(torch.from_numpy(z)), x[:B])
    discriminator = 0.5 * (cross_entropy(logits, 0) + cross_entropy(forward(model.discriminator, shuffled), 1))
    got, _ = losses(model, x)
    assert got["autoencoder"] == pytest.approx(reconstruction + 0.2 * kl + 0.7 * tc, rel=1e-12)
    assert got["discriminator"] == pytest.approx(discriminator, rel=1e-12)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_beta_tcvae(estimator):
    model, x = build("beta_tcvae", kl_weight=0.2, tc_weight=4.0, estimator=estimator)
    mean, log_variance, z, reconstruction = gaussian_parts(model, x)

    def log_normal(value, m, v):
        return -0.5 * (np.log(2 * np.pi) + v + (value - m) ** 2 / np.exp(v))

    if estimator == "weighted":
        weights = np.full((B, B), 1 / (N * B))
    else:
        m = B - 1
        weights = np.full((B, B), 1 / m)
        for i in range(B):
            weights[i, i], weights[i, (i + 1) % B] = 1 / N, (N - m) / (N * m)
        assert weights.sum(axis=1) == pytest.approx(1)
    terms = []
    for i in range(B):
        each = np.array([log_normal(z[i], mean[j], log_variance[j]) for j in range(B)])
        log_qz = logsumexp(each.sum(axis=1), b=weights[i])
        log_product = sum(logsumexp(each[:, k], b=weights[i]) for k in range(D))
        log_prior = log_normal(z[i], 0.0, 0.0).sum()
        terms.append((each[i].sum() - log_qz, log_qz - log_product, log_product - log_prior, each[i].sum() - log_prior))
    mi, tc, dimension_kl, kl = np.mean(terms, axis=0)
    assert mi + tc + dimension_kl == pytest.approx(kl)
    got, logs = losses(model, x)
    assert got == {"autoencoder": pytest.approx(reconstruction + 0.2 * (mi + 4 * tc + dimension_kl), rel=1e-12)}
    assert logs["mi"] + logs["tc"] + logs["dimension_kl"] == pytest.approx(kl)


def test_split_kl_finds_independence_and_dependence():
    """Two independent latents have no total correlation; a latent and its copy have its entropy's worth."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    log_variance = torch.full_like(mean, -2.0)
    noise = Noise(generator)
    z = gaussian.sample(mean, log_variance, noise)
    _, independent, _ = gaussian.split_kl(z, mean, log_variance, n_train=2000, stratified=False)
    copied = mean[:, [0, 0]]
    z = gaussian.sample(copied, log_variance, noise)
    _, dependent, _ = gaussian.split_kl(z, copied, log_variance, n_train=2000, stratified=False)
    # With N = b, both estimators are off by log(N*b) - log(N) = log(b) per latent more than for the joint.
    assert independent - np.log(2000) == pytest.approx(0.0, abs=0.1)
    variance = 1 + np.exp(-2.0)
    expected = -0.5 * np.log(1 - (1 / variance) ** 2)  # mutual information of the two Gaussian coordinates
    assert dependent - np.log(2000) == pytest.approx(expected, abs=0.1)


def test_vq_vae():
    model, x = build("vq_vae", symbols=7, embedding_dim=4, quantisation_weight=0.6, commitment_weight=0.2)
    tokens, codebook = numbers(model.encoder(x)).reshape(B, D, 4), numbers(model.codebook)
    index = [[min(range(7), key=lambda v: np.sum((t - codebook[v]) ** 2)) for t in row] for row in tokens]
    vectors = codebook[np.array(index)]
    reconstruction = mse(model.decoder(torch.from_numpy(vectors.reshape(B, -1))), x)
    square = np.mean((tokens - vectors) ** 2)
    got, _ = losses(model, x)
    assert got == {"autoencoder": pytest.approx(reconstruction + 0.6 * square + 0.2 * square, rel=1e-12)}
    codes = model.encode(x)
    assert codes.indices.tolist() == index
    assert codes.values.tolist() == index


def test_qlae():
    model, x = build("qlae", symbols=5, quantisation_weight=0.6, commitment_weight=0.2)
    z, codebooks = numbers(model.encoder(x)), numbers(model.codebooks)[:, :, 0]
    index = [[min(range(5), key=lambda v: abs(row[j] - codebooks[j, v])) for j in range(D)] for row in z]
    values = np.array([[codebooks[j, row[j]] for j in range(D)] for row in index])
    reconstruction = mse(model.decoder(torch.from_numpy(values)), x)
    square = np.mean((z - values) ** 2)
    got, _ = losses(model, x)
    assert got == {"autoencoder": pytest.approx(reconstruction + 0.8 * square, rel=1e-12)}
    codes = model.encode(x)
    assert codes.indices.tolist() == index
    np.testing.assert_array_equal(codes.values.detach().numpy(), values)


@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_factor_qvae(gamma):
    step, k = 30_000, 6
    model, x = build("factor_qvae", symbols=k, kl_weight=0.3, gamma=gamma, discriminator_layers=2)
    generator = torch.Generator().manual_seed(2)
    codebook, temperature = numbers(model.codebook)[:, 0], np.exp(-1e-5 * step)
    halves = [numbers(model.encoder(half)) for half in x.split(B)]
    log_posterior = [log_softmax(-((z[:, :, None] - codebook) ** 2), axis=2) for z in halves]

    def sample(log_p):
        uniform = torch.empty((B, D, k), dtype=torch.float64).uniform_(generator=generator).numpy()
        return softmax((log_p - np.log(-np.log(uniform))) / temperature, axis=2)

    weights = sample(log_posterior[0])
    reconstruction = mse(model.decoder(torch.from_numpy(weights @ codebook)), x[:B])
    kl = np.mean(np.sum(np.exp(log_posterior[0]) * (log_posterior[0] - np.log(1 / k)), axis=2))
    expected = reconstruction + 0.3 * kl
    got, _ = losses(model, x, step)
    if gamma:
        other = sample(log_posterior[1])
        order = torch.rand(B, D, generator=generator).argsort(dim=0).numpy()
        shuffled = np.stack([other[order[:, j], j] for j in range(D)], axis=1)
        logits = forward(model.discriminator, weights.reshape(B, -1))
        fake = forward(model.discriminator, shuffled.reshape(B, -1))
        expected += gamma * np.mean(logits[:, 0] - logits[:, 1])
        discriminator = 0.5 * (cross_entropy(logits, 0) + cross_entropy(fake, 1))
        assert got["discriminator"] == pytest.approx(discriminator, rel=1e-12)
    assert set(got) == ({"autoencoder", "discriminator"} if gamma else {"autoencoder"})
    assert got["autoencoder"] == pytest.approx(expected, rel=1e-12)
    index = np.argmin((halves[0][:, :, None] - codebook) ** 2, axis=2)
    np.testing.assert_array_equal(model.encode(x[:B]).indices, index)


def test_straight_through_passes_the_gradient_to_the_codes_only():
    z = torch.tensor([[[0.2], [-0.4]]], dtype=torch.float64, requires_grad=True)
    codebook = torch.tensor([[-0.5], [0.0], [0.5]], dtype=torch.float64, requires_grad=True)
    values = quantise.look_up(codebook, quantise.nearest(z, codebook))
    assert values.tolist() == [[[0.0], [-0.5]]]
    out = quantise.straight_through(z, values)
    assert out.tolist() == values.tolist()
    (torch.tensor([[[3.0], [5.0]]]) * out).sum().backward()
    assert z.grad.tolist() == [[[3.0], [5.0]]]
    assert codebook.grad is None or not codebook.grad.any()


def test_weight_decay_spares_biases_and_codebooks():
    model, _ = build("qlae", weight_decay=0.1)
    decayed, plain = model.param_groups()
    assert decayed["weight_decay"] == 0.1
    assert "weight_decay" not in plain
    assert any(parameter is model.codebooks for parameter in plain["params"])
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
