"""Codes of every kind of latent against their definition, and what single parts of losses do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disentangle_bench.models import gaussian
from disentangle_bench.models.model import Noise
from support import by_hand
from support.small_models import B, D, build


def encoder_outputs(model, x):
    parameters = dict(model.named_parameters())
    return np.stack([by_hand.encoder(parameters, image).detach().numpy() for image in x])


@pytest.mark.parametrize("name", ["ae", "bio_ae"])
def test_codes_are_the_encoders_output(name):
    model, x = build(name, {})
    np.testing.assert_allclose(model.encode(x).values.detach(), encoder_outputs(model, x), rtol=1e-9)


@pytest.mark.parametrize("name", ["beta_vae", "factor_vae", "beta_tcvae", "annealed_vae", "dip_vae_i", "dip_vae_ii"])
def test_codes_are_posterior_means(name):
    model, x = build(name, {})
    codes, outputs = model.encode(x), encoder_outputs(model, x)
    np.testing.assert_allclose(codes.values.detach(), outputs[:, :D], rtol=1e-9)
    np.testing.assert_allclose(codes.deviations.detach(), np.exp(outputs[:, D:] / 2), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "codebook", "width"),
    [("vq_vae", "codebook", 4), ("qlae", "codebooks", 1), ("factor_qvae", "codebook", 1), ("q_vae", "codebook", 1)],
)
def test_codes_are_the_nearest_symbols(name, codebook, width):
    model, x = build(name, {"symbols": 7} | ({"embedding_dim": width} if name == "vq_vae" else {}))
    tokens, table = encoder_outputs(model, x).reshape(len(x), D, width), getattr(model, codebook).detach().numpy()
    tables = table if table.ndim == 3 else np.stack([table] * D)
    indices = [[min(range(7), key=lambda v: sum((t - tables[j, v]) ** 2)) for j, t in enumerate(row)] for row in tokens]
    codes = model.encode(x)
    assert len(np.unique(indices)) > 2
    assert codes.indices.tolist() == indices
    values = [[tables[j, v, 0] if width == 1 else v for j, v in enumerate(row)] for row in indices]
    np.testing.assert_array_equal(codes.values.detach(), values)


@pytest.mark.parametrize("name", ["dvae", "factor_dvae"])
def test_codes_are_the_likeliest_symbols(name):
    model, x = build(name, {"symbols": 6})
    indices = encoder_outputs(model, x).reshape(len(x), D, 6).argmax(axis=2)
    codes = model.encode(x)
    np.testing.assert_array_equal(codes.indices, indices)
    np.testing.assert_array_equal(codes.values.detach(), model.codebook.detach().numpy()[indices, 0])


def test_codes_of_fsq_are_levels_of_its_grid():
    model, x = build("fsq", {"symbols": 4})
    outputs = encoder_outputs(model, x)
    outputs /= np.sqrt((outputs**2).mean(axis=1, keepdims=True) + 1e-5)
    indices = np.rint((np.tanh(outputs) + 1) / 2 * 3).astype(int)
    codes = model.encode(x)
    assert len(np.unique(indices)) > 2
    np.testing.assert_array_equal(codes.indices, indices)
    np.testing.assert_allclose(codes.values.detach(), np.array([-1, -1 / 3, 1 / 3, 1])[indices], rtol=1e-7)


def test_fsq_keeps_a_gradient_however_far_its_encoder_was_pushed():
    """The first updates fit the images' mean and push all codes the same way, where a tanh alone would be flat."""
    model, x = build("fsq", {"symbols": 4})
    model.encoder[-1].bias.data += 100.0 - model.encoder(x).min()
    loss, _ = model.losses(x, 0, Noise(torch.Generator()))
    loss["autoencoder"].backward()
    assert model.encoder[-1].weight.grad.any()


@pytest.mark.parametrize(("step", "capacity"), [(0, 0.0), (250, 5.0), (1000, 20.0), (5000, 20.0)])
def test_the_capacity_of_annealed_vae_grows_and_stays(step, capacity):
    model, x = build("annealed_vae", {"kl_weight": 0.3, "capacity": 20.0, "capacity_steps": 1000})
    losses, logs = model.losses(x, step, Noise(torch.Generator().manual_seed(2)))
    expected = logs["mse"] + 0.3 * abs(logs["kl"] - capacity)
    assert losses["autoencoder"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_split_kl_finds_independence_and_dependence():
    """Two independent latents have no total correlation; a latent and its copy have its entropy's worth."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    log_variance = torch.full_like(mean, -2.0)

    def total_correlation(mean):
        z = gaussian.sample(mean, log_variance, Noise(generator))
        # With N = b, both estimators are off by log(N*b) - log(N) = log(b) per latent more than for the joint.
        return gaussian.split_kl(z, mean, log_variance, n_train=2000, stratified=False)[1] - np.log(2000)

    assert total_correlation(mean) == pytest.approx(0.0, abs=0.1)
    variance = 1 + np.exp(-2.0)
    information = -0.5 * np.log(1 - (1 / variance) ** 2)  # of the two Gaussian coordinates
    assert total_correlation(mean[:, [0, 0]]) == pytest.approx(information, abs=0.1)


def test_batches_of_the_cases_differ():
    """The helper's images give codes that differ, or the comparisons above would say little."""
    model, x = build("ae", {})
    assert len(x) == B
    assert model.encode(x).values.std(0).min() > 0.1
