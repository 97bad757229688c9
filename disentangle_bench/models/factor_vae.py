"""FactorVAE. Kim & Mnih, *Disentangling by Factorising*, ICML 2018 (arXiv 1802.05983)."""

from __future__ import annotations

from typing import Any, final

from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models import adversary, gaussian
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Step
from disentangle_bench.models.networks import Network


@final
class FactorVAE(Model):
    """Model with beta-VAE's loss + gamma * mean(D(z)[0] - D(z)[1]).

    D is a discriminator that learns to tell z from z with shuffled latents (paper, equation 2 and algorithm 2). The
    shuffled codes come from the second half of an update's images. With ``gamma = 0`` there is no discriminator, and
    this is beta-VAE.
    """

    version = 1

    class Config(adversary.Adversary):
        """Settings of the model. The discriminator's defaults are the paper's (appendix A); its learning rate of 1e-4
        is 0.1 times the 1e-3 used here.
        """

        kl_weight: float = Field(1e-4, ge=0)
        discriminator_layers: int = Field(6, ge=0)
        discriminator_lr_scale: float = Field(0.1, gt=0)
        discriminator_beta1: float = Field(0.5, ge=0, lt=1)
        discriminator_beta2: float = Field(0.9, ge=0, lt=1)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: FactorVAE.Config = config
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)
        self.discriminator = adversary.discriminator_for(config, config.latents)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return both players' losses: the autoencoder's on the first half of ``x``."""
        x, *others = x.chunk(self.config.players)
        error, kl, *_, z = gaussian.bound(self, x, noise)
        loss = error + self.config.kl_weight * kl
        logs = {self.reconstruction: error, "kl": kl}
        if self.discriminator is None:
            return {"autoencoder": loss}, logs
        tc = adversary.total_correlation(self.discriminator, z)

        def other() -> Tensor:
            return gaussian.sample(*gaussian.split(self.encoder(others[0])), noise)

        turn = adversary.discriminator_turn(self.discriminator, z, other, noise)
        return {"autoencoder": loss + self.config.gamma * tc, "discriminator": turn}, logs | {"tc": tc}

    def encode(self, x: Tensor) -> Codes:
        """Return posterior means as codes."""
        return gaussian.codes(self.encoder(x))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return groups: the autoencoder, and the discriminator at its own learning rate and moments."""
        return adversary.param_groups(self, self.discriminator, self.config)
