"""AnnealedVAE. Burgess et al., *Understanding disentangling in beta-VAE* (arXiv 1804.03599)."""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models import gaussian
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, in_updates, ramp
from disentangle_bench.models.networks import Network


@final
class AnnealedVAE(Model):
    """Model with the loss MSE + kl_weight * |KL - C(step)|. Codes are posterior means.

    The KL divergence of the codes (a sum over latents and a mean over the batch) is held at a capacity C that grows
    linearly from 0 to ``capacity`` over ``capacity_steps`` and then stays there.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``kl_weight`` is the paper's gamma, relative to the mean squared error; ``capacity``
        is in nats, and ``capacity_steps`` in steps of the protocol's clock.
        """

        kl_weight: float = Field(0.04, ge=0)
        capacity: float = Field(25.0, ge=0)
        capacity_steps: int = in_updates(100_000)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: AnnealedVAE.Config = config
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the reconstruction error plus the weighted distance of the KL divergence from this step's capacity."""
        error, kl, *_ = gaussian.bound(self, x, noise)
        capacity = self.config.capacity * ramp(step, self.config.capacity_steps)
        distance = (kl - capacity).abs().to(kl.dtype)  # the clock on a device is float64
        loss = error + self.config.kl_weight * distance
        return {"autoencoder": loss}, {self.reconstruction: error, "kl": kl}

    def encode(self, x: Tensor) -> Codes:
        """Return posterior means as codes."""
        return gaussian.codes(self.encoder(x))
