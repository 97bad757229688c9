"""Tripod's legs: what the two penalties say of codes and decoders that are known, and that each can be taken away."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from disentangle_bench.models.model import Noise
from disentangle_bench.models.tripod import Tripod, multi_information
from disentangle_bench.registry import network

DOUBLE = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def estimate(z):
    return multi_information(z, z.std(0, correction=0) + 1e-6).item()


def test_multi_information_of_independent_codes_is_its_bias():
    """A kernel of width w widens N(0, 1) to a variance of 1 + w^2; that of the point itself comes on top."""
    b, d = 800, 2
    f = (4 / (d + 2)) ** (1 / (d + 4)) * b ** (-1 / (d + 4))
    z = normal(100_000, d, seed=9)

    def mean_log_density(points, width):
        axes = points.shape[1]
        others = torch.exp(-points.square().sum(1) / (2 + 2 * width**2)) / (2 * math.pi * (1 + width**2)) ** (axes / 2)
        itself = (2 * math.pi * width**2) ** (-axes / 2)
        return torch.log(itself / b + (1 - 1 / b) * others).mean().item()

    bias = mean_log_density(z, f) - d * mean_log_density(z[:, :1], 1.0)
    values = [estimate(normal(b, d, seed=seed)) for seed in range(4)]
    assert values == pytest.approx([bias] * 4, abs=0.025)


def test_multi_information_of_codes_that_go_together_is_more_than_that_of_shuffled_ones():
    z = normal(1000, 3)
    z[:, 1] = 0.6 * z[:, 0] + 0.8 * z[:, 1]
    shuffled = [torch.stack([column[torch.randperm(1000)] for column in z.T], 1) for _ in range(3)]
    excess = estimate(z) - sum(map(estimate, shuffled)) / 3
    assert 0.1 < excess < 0.3  # -log(1 - 0.36) / 2 is 0.22


class Layers(nn.Module):
    """A decoder with hidden layers that are given functions of the latents."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def hidden_layers(self, z):
        return [function(z) for function in self.functions]


def penalty(*functions, z):
    model = Tripod(Tripod.Config(latents=4), image_shape=(1, 16, 16), n_train=10, network=network("conv64"))
    model.decoder = Layers(*functions)
    return model._hessian_penalty(z, z.std(0, correction=0), Noise(torch.Generator().manual_seed(0))).item()


def additive(z):
    return torch.stack([z.sin().sum(1), (z**3).sum(1) - z[:, 0].exp()], 1)


def multiplicative(z):
    return (z[:, 0] * z[:, 1])[:, None, None].expand(-1, 3, 2)


def test_the_hessian_penalty_of_an_additive_decoder_is_zero():
    assert penalty(additive, z=normal(20, 4)) < 1e-12
    assert penalty(lambda z: z @ normal(4, 6), z=normal(20, 4)) < 1e-3, "nothing over next to nothing"


def test_the_hessian_penalty_sees_products_and_sums_over_layers():
    z = normal(400, 4)
    one_layer = penalty(multiplicative, z=z)
    assert one_layer > 0.1
    assert penalty(multiplicative, additive, multiplicative, z=z) == pytest.approx(2 * one_layer, rel=1e-6)


class Counted(Noise):
    """Noise that counts what is drawn."""

    def __init__(self):
        super().__init__(torch.Generator().manual_seed(0))
        self.numbers = 0

    def uniform(self, like):
        self.numbers += like.numel()
        return super().uniform(like)


@pytest.mark.parametrize(("setting", "log"), [("klm_weight", "klm"), ("nhp_weight", "nhp")])
def test_a_penalty_without_weight_is_not_computed(setting, log):
    config = Tripod.Config(latents=3, **{setting: 0.0})
    model = Tripod(config, image_shape=(1, 16, 16), n_train=10, network=network("conv64"))
    noise = Counted()
    _, logs = model.losses(torch.rand(4, 1, 16, 16), 0, noise)
    assert log not in logs
    assert {"mse", "klm", "nhp"} - {log} == set(logs)
    assert bool(noise.numbers) == (log != "nhp")


@pytest.mark.parametrize("rounded", [True, False])
def test_codes_are_symbols_if_they_are_rounded(rounded):
    config = Tripod.Config(latents=3, symbols=5, quantise=rounded)
    model = Tripod(config, image_shape=(1, 16, 16), n_train=10, network=network("conv64"))
    codes = model.encode(torch.rand(4, 1, 16, 16))
    assert (codes.indices is not None) == rounded
    if rounded:
        assert set(codes.values.flatten().tolist()) <= {-1.0, -0.5, 0.0, 0.5, 1.0}
