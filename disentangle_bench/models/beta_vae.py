"""beta-VAE. Higgins et al., *beta-VAE*, ICLR 2017; mean-squared-error form of arXiv 2409.14851."""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models import gaussian
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step
from disentangle_bench.models.networks import Network


@final
class BetaVAE(Model):
    """Model with the loss MSE + kl_weight * mean over the batch of sum_j KL(q(z_j | x) || N(0, 1)). Codes are posterior
    means.

    MSE is a mean over pixels and channels, so ``kl_weight`` is beta divided by roughly the number of pixels times
    channels.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``kl_weight`` weighs the KL divergence against the mean squared error."""

        kl_weight: float = Field(1e-4, ge=0)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: BetaVAE.Config = config
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the negative evidence bound, with the reconstruction error per pixel."""
        error, kl, *_ = gaussian.bound(self, x, noise)
        return {"autoencoder": error + self.config.kl_weight * kl}, {self.reconstruction: error, "kl": kl}

    def encode(self, x: Tensor) -> Codes:
        """Return posterior means as codes."""
        return gaussian.codes(self.encoder(x))
