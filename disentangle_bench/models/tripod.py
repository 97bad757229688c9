"""Tripod. Hsu et al., *Tripod: Three Complementary Inductive Biases for Disentangled Representation Learning*
(arXiv 2404.10282).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.models import quantise
from disentangle_bench.models.gaussian import log_density
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network, hidden_layers

EPSILON = 1e-5
"""Added to the mean square of latents before they are divided by its root."""
STEP = 0.1
"""Length of the perturbations of the Hessian penalty, in standard deviations of the latents."""
PERTURBATIONS = 2
"""Perturbations of each kind for one image."""


@final
class Tripod(Model):
    """An autoencoder with three legs, each of which can be removed by a setting.

    Latents go through tanh and are rounded to evenly spaced values in [-1, 1] with a straight-through gradient
    (``quantise``). ``klm_weight`` times an estimate of the codes' multi-information pulls latents towards
    independence. ``nhp_weight`` times the normalised Hessian penalty keeps the decoder from mixing them. The loss is
    the sum of the reconstruction error and both penalties.
    """

    version = 1
    grid: Tensor

    class Config(Settings):
        """Settings of the model. ``symbols`` is the number of values per latent. ``quantise`` rounds to them; without
        it, latents are the encoder's outputs. ``klm_weight`` and ``nhp_weight`` are the penalties' weights; 0 removes a
        penalty. ``normalised`` divides an image's latents by their root mean square before the tanh, for encoders
        without normalising layers. ``weight_decay`` is decoupled and spares biases.
        """

        symbols: int = Field(12, ge=2)
        quantise: bool = True
        klm_weight: float = Field(1e-4, ge=0)
        nhp_weight: float = Field(1e-2, ge=0)
        normalised: bool = True
        weight_decay: float = per_update(0.0)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: Tripod.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)
        self.register_buffer("grid", torch.linspace(-1, 1, config.symbols).unsqueeze(1))

    def _continuous(self, x: Tensor) -> Tensor:
        """Return the latents [b, d] before rounding."""
        latents = self.encoder(x)
        if not self.config.quantise:
            return latents
        if self.config.normalised:
            latents = F.rms_norm(latents, [self.config.latents], eps=EPSILON)
        return latents.tanh()

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the reconstruction error plus both penalties."""
        continuous = z = self._continuous(x)
        if self.config.quantise:
            tokens = continuous.unsqueeze(2)
            values = quantise.look_up(self.grid, quantise.nearest(tokens, self.grid))
            z = quantise.straight_through(tokens, values).squeeze(2)
        error = self.error(self.decoder(z), x)
        loss, logs = error, dict[str, Tensor]({self.reconstruction: error})
        deviations = continuous.std(dim=0, correction=0) + 1e-6
        if self.config.klm_weight:
            logs["klm"] = multi_information(z, deviations)
            loss = loss + self.config.klm_weight * logs["klm"]
        if self.config.nhp_weight:
            logs["nhp"] = self._hessian_penalty(z, deviations, noise)
            loss = loss + self.config.nhp_weight * logs["nhp"]
        return {"autoencoder": loss}, logs

    def _hessian_penalty(self, z: Tensor, deviations: Tensor, noise: Noise) -> Tensor:
        """Return the penalty of the decoder's hidden layers around ``z`` [b, d]; always in the precision of ``z``."""
        like = z.expand(PERTURBATIONS, *z.shape)
        signs = torch.where(noise.uniform(like) < 0.5, -1.0, 1.0).to(z.dtype)
        moves = STEP * deviations * torch.cat([signs, noise.normal(like)])
        points = torch.cat([z[None], z + moves, z - moves])
        layers = hidden_layers(self.decoder, points.flatten(0, 1))
        return sum((normalised_penalty(layer.unflatten(0, points.shape[:2])) for layer in layers), z.new_zeros(()))

    def encode(self, x: Tensor) -> Codes:
        """Return the nearest values and their indices, or the latents themselves if nothing is rounded."""
        continuous = self._continuous(x)
        if not self.config.quantise:
            return Codes(continuous)
        return quantise.codes(self.grid, quantise.nearest(continuous.unsqueeze(2), self.grid))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on all but biases."""
        return decayed(self, self.config.weight_decay)


def multi_information(z: Tensor, deviations: Tensor) -> Tensor:
    """Return the kernel estimate of KL(q(z) || prod_k q(z_k)), in nats, from a batch [b, d].

    Kernels are normal. Those of the joint density are as wide as ``deviations`` [d] times Silverman's factor for d
    axes, those of the marginals as wide as the deviations, as in the released code. Every point also counts as its own
    neighbour.
    """
    b, d = z.shape
    silverman = (4 / (d + 2)) ** (1 / (d + 4)) * b ** (-1 / (d + 4))

    def pairs(width: Tensor) -> Tensor:
        return log_density(z[:, None], z[None], 2 * width.log())

    joint = torch.logsumexp(pairs(deviations * silverman).sum(2), dim=1) - math.log(b)
    marginals = torch.logsumexp(pairs(deviations), dim=1) - math.log(b)
    return (joint - marginals.sum(1)).mean()


def normalised_penalty(layer: Tensor) -> Tensor:
    """Return the share of a layer's curvature that is between different latents, as a mean over images.

    ``layer`` [1 + 4p, b, ...] holds the layer at z, at z + v and at z - v, where v are p perturbations of random signs
    and p normal ones. Over the former, the variance of second differences is twice the sum of squares of the Hessian's
    off-diagonal entries; over the latter, it is twice that of all entries (Peebles et al. 2020).
    """
    centre, plus, minus = layer.flatten(2).split([1, (len(layer) - 1) // 2, (len(layer) - 1) // 2])
    curvature = (plus - 2 * centre + minus) / STEP**2
    off_diagonal, whole = (half.var(dim=0, correction=0).mean(dim=1) for half in curvature.chunk(2))
    return (off_diagonal / (whole + 1e-10)).mean()
