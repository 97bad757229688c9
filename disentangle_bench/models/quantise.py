"""Parts shared by models whose latents are symbols.

A codebook holds v values of e numbers each (e = 1 for scalars): [v, e] if all d latents share it, [d, v, e] if each has
its own. Tokens, one per latent, are [b, d, e].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.models.model import Noise, Step


def squared_distances(tokens: Tensor, codebook: Tensor) -> Tensor:
    """Return the squared distances [b, d, v] from tokens [b, d, e] to every value of their codebook."""
    return (tokens[:, :, None] - codebook).square().sum(dim=3)


def nearest(tokens: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of each token's nearest codebook value, int64 [b, d]; the lower one if two are equally near."""
    with torch.no_grad():
        return squared_distances(tokens, codebook).argmin(dim=2)


def look_up(codebook: Tensor, indices: Tensor) -> Tensor:
    """Return the values [b, d, e] of indices [b, d]."""
    if codebook.dim() == 2:
        return F.embedding(indices, codebook)
    latents = torch.arange(indices.shape[1], device=indices.device)
    return codebook[latents, indices]


def mixture(weights: Tensor, codebook: Tensor) -> Tensor:
    """Return the weighted means [b, d, e] of a codebook's values; weights [b, d, v]."""
    return (weights[:, :, None] @ codebook).squeeze(2)


def codes(codebook: Tensor, indices: Tensor) -> Codes:
    """Return symbols [b, d] as codes whose values are the symbols' scalars.

    Where symbols are vectors, the values are the symbols' own numbers, which have no order.
    """
    values = look_up(codebook, indices).squeeze(2) if codebook.shape[-1] == 1 else indices.to(codebook.dtype)
    return Codes(values, indices)


def decoder_input(codebook: Tensor, codes: Codes) -> Tensor:
    """Return the values of codes' symbols side by side, [b, d * e]."""
    assert codes.indices is not None  # a discrete model's encode always returns them
    return look_up(codebook, codes.indices).flatten(1)


def straight_through(z: Tensor, quantised: Tensor) -> Tensor:
    """Return the quantised numbers, passing the gradient on to ``z`` as if nothing had been rounded."""
    return z + (quantised - z).detach()


def quantisation_losses(z: Tensor, quantised: Tensor) -> tuple[Tensor, Tensor]:
    """Return two equal losses with different gradients, means over all elements.

    The first moves the codebook to the codes, the second the codes to the codebook ("commitment") (van den Oord et al.
    2017, arXiv 1711.00937, eq. 3).
    """
    return F.mse_loss(quantised, z.detach()), F.mse_loss(z, quantised.detach())


def log_posterior(tokens: Tensor, codebook: Tensor) -> Tensor:
    """Return log q(symbol | x), [b, d, v]: a softmax over minus the squared distances (Baykal et al. 2024)."""
    return (-squared_distances(tokens, codebook)).log_softmax(dim=2)


def temperature(decay: float, step: Step) -> float | Tensor:
    """Return the temperature of Gumbel-softmax samples: exp(-decay * step)."""
    return torch.exp(-decay * step) if isinstance(step, Tensor) else math.exp(-decay * step)


def gumbel_softmax(log_probabilities: Tensor, temperature: float | Tensor, noise: Noise) -> Tensor:
    """Draw a soft one-hot sample over the last axis (Jang et al. 2017; Maddison et al. 2017)."""
    uniform = noise.uniform(log_probabilities)
    # Numbers on [0, 1) can be 0, whose logarithm is infinite, so 0 becomes the smallest positive normal number.
    gumbel = -(-uniform.clamp_min(torch.finfo(uniform.dtype).tiny).log()).log()
    return ((log_probabilities + gumbel) / temperature).softmax(dim=-1)


def kl_to_uniform(log_probabilities: Tensor) -> Tensor:
    """Return KL(p || uniform over the v symbols) in nats, over the last axis."""
    symbols = log_probabilities.shape[-1]
    return (log_probabilities.exp() * (log_probabilities + math.log(symbols))).sum(dim=-1)
