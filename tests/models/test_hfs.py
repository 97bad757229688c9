"""HFS's two terms on codes whose support is known."""

from __future__ import annotations

import pytest
import torch

from disentangle_bench.models.hfs import factorised_support, spread_penalty
from disentangle_bench.models.model import Noise


def support(z, pairs=25):
    return factorised_support(z, pairs, 100, Noise(torch.Generator().manual_seed(0))).item()


def test_codes_on_a_full_grid_have_factorised_support():
    grid = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)
    assert support(grid) == 0


def test_codes_on_a_diagonal_have_not():
    line = torch.linspace(0, 1, 50)[:, None]
    # The corners (0, 1) of three planes are 1/2 from the diagonal in squared distance; a hundred draws come near them.
    assert support(line.expand(-1, 3)) == pytest.approx(1.5, abs=0.25)
    assert support(line.expand(-1, 3), pairs=1) == pytest.approx(0.5, abs=0.1)
    assert support(line) == 0, "one latent has no pairs"


def test_spread_is_of_an_images_own_latents():
    assert spread_penalty(torch.tensor([[0.0, 1.0], [-1.0, 2.0]])) == 0
    assert spread_penalty(torch.tensor([[0.2, 0.5], [0.0, 1.0]])).item() == pytest.approx((0.5 + 0.2) / 2)
