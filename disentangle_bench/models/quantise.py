"""Parts shared by models whose latents are symbols.

A scalar codebook is [v] if all d latents share it and [d, v] if each has its own.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle_bench.models.model import Noise


def squared_distances(z: Tensor, codebook: Tensor) -> Tensor:
    """(z_j - value_v)^2 of scalars [b, d] to every value of their codebook: [b, d, v]."""
    return (z[:, :, None] - codebook).square()


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    """The index of each scalar's nearest codebook value, int64 [b, d]; the lower index where two are as near."""
    with torch.no_grad():
        return squared_distances(z, codebook).argmin(dim=2)


def look_up(codebook: Tensor, indices: Tensor) -> Tensor:
    """The scalar values [b, d] of indices [b, d]."""
    if codebook.dim() == 1:
        return codebook[indices]
    return codebook.expand(len(indices), -1, -1).gather(2, indices[:, :, None]).squeeze(2)


def straight_through(z: Tensor, quantised: Tensor) -> Tensor:
    """The quantised numbers, with the gradient passed on to ``z`` as if nothing had been rounded."""
    return z + (quantised - z).detach()


def quantisation_losses(z: Tensor, quantised: Tensor) -> tuple[Tensor, Tensor]:
    """Two equal numbers with different gradients: the first moves the codebook to the codes, the second the codes to
    the codebook ("commitment"). Means over all elements (van den Oord et al. 2017, arXiv 1711.00937, equation 3).
    """
    return F.mse_loss(quantised, z.detach()), F.mse_loss(z, quantised.detach())


def gumbel_softmax(log_probabilities: Tensor, temperature: float, noise: Noise) -> Tensor:
    """A soft one-hot sample over the last axis (Jang et al. 2017; Maddison et al. 2017)."""
    uniform = noise.uniform(log_probabilities)
    # Numbers on [0, 1) can be 0, whose logarithm is infinite: take the smallest positive normal number instead.
    gumbel = -(-uniform.clamp_min(torch.finfo(uniform.dtype).tiny).log()).log()
    return ((log_probabilities + gumbel) / temperature).softmax(dim=-1)


def kl_to_uniform(log_probabilities: Tensor) -> Tensor:
    """KL(p || uniform over the v symbols) in nats, over the last axis."""
    symbols = log_probabilities.shape[-1]
    return (log_probabilities.exp() * (log_probabilities + math.log(symbols))).sum(dim=-1)


def decayed(model: nn.Module, weight_decay: float, *, spared: list[nn.Parameter]) -> list[dict[str, Any]]:
    """Parameter groups with weight decay on every weight, and none on biases (one axis) and the ``spared`` ones."""
    free = {id(parameter) for parameter in spared}
    plain = [p for p in model.parameters() if p.dim() < 2 or id(p) in free]
    weights = [p for p in model.parameters() if p.dim() >= 2 and id(p) not in free]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": plain}]
