"""HFS. Roth et al., *Disentanglement of Correlated Factors via Hausdorff Factorized Support*, ICLR 2023
(arXiv 2210.07347).
"""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models import gaussian
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step
from disentangle_bench.models.networks import Network


@final
class HFS(Model):
    """A beta-VAE trained so that the posterior means of each pair of latents fill all combinations of their values.

    The loss is MSE + kl_weight * KL + gamma * S + delta * R. S is the Hausdorff distance of the batch's means from
    random recombinations of their coordinates (``factorised_support``), and R keeps S from shrinking the codes
    (``spread_penalty``). With ``kl_weight`` 0, no term asks for independent latents, so factors may stay correlated.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``kl_weight``, ``gamma`` and ``delta`` are weights of the loss. ``pairs`` is the
        number of pairs of latents in an update; if there are fewer, all are used. ``points`` is the number of
        recombinations of each pair.
        """

        kl_weight: float = Field(4e-5, ge=0)
        gamma: float = Field(4e-3, ge=0)
        delta: float = Field(2.6e-3, ge=0)
        pairs: int = Field(25, ge=1)
        points: int = Field(100, ge=1)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: HFS.Config = config
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the negative evidence bound, per pixel, plus the terms of the support."""
        c = self.config
        error, kl, mean, *_ = gaussian.bound(self, x, noise)
        support, spread = factorised_support(mean, c.pairs, c.points, noise), spread_penalty(mean)
        loss = error + c.kl_weight * kl + c.gamma * support + c.delta * spread
        return {"autoencoder": loss}, {self.reconstruction: error, "kl": kl, "support": support, "spread": spread}

    def encode(self, x: Tensor) -> Codes:
        """Return posterior means as codes."""
        return gaussian.codes(self.encoder(x))


def factorised_support(z: Tensor, pairs: int, points: int, noise: Noise) -> Tensor:
    """Return the distance of codes [b, d] from the product of their own ranges, summed over random pairs of latents.

    For each pair, ``points`` points take their two coordinates from independent rows of the batch; the distance is the
    largest of these points' squared distances to the nearest row. It is 0 for a single latent.
    """
    b, d = z.shape
    all_pairs = torch.triu_indices(d, d, offset=1, device=z.device).T
    drawn_pairs = all_pairs[noise.permutations(len(all_pairs), 1)[:pairs, 0]]
    rows = (noise.uniform(z.new_empty(points, *drawn_pairs.shape)) * b).long().clamp(max=b - 1)
    plane = z[:, drawn_pairs]  # [b, pairs, 2]
    recombined = plane[rows, torch.arange(len(drawn_pairs), device=z.device)[:, None], torch.arange(2, device=z.device)]
    distances = (recombined[:, None] - plane[None]).square().sum(dim=3)
    return distances.amin(dim=1).amax(dim=0).sum() if len(drawn_pairs) else z.new_zeros(())


def spread_penalty(z: Tensor) -> Tensor:
    """Return how far the codes [b, d] are from reaching down to 0 and up to 1, averaged over images.

    The extremes are those of an image's own latents, as in the released code, not those of a latent over the batch.
    """
    high, low = z.amax(dim=1), z.amin(dim=1)
    return ((1 - high).relu() + low.relu()).mean()
