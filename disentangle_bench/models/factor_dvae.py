"""FactorDVAE: the discrete VAE with a total-correlation term.

Baykal, Kandemir & Unal, *Disentanglement with Factor Quantized Variational Autoencoders* (arXiv 2409.14851).
"""

from __future__ import annotations

from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn

from disentangle_bench.codes import Codes
from disentangle_bench.models import adversary, quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Step, per_update
from disentangle_bench.models.networks import Network


@final
class FactorDVAE(Model):
    """Model with the loss of ``dvae`` + gamma * TC(w), where w are the d * K weights of the Gumbel-softmax sample.

    The discriminator of FactorVAE sees these weights; to shuffle them, a latent's K weights are kept together. With
    ``gamma = 0`` there is no discriminator, and this is ``dvae``.
    """

    version = 1

    class Config(adversary.Adversary):
        """Settings of the model. ``symbols`` is K, and ``temperature_decay`` is per step of the protocol's clock. The
        discriminator's defaults are those of the released code.
        """

        symbols: int = Field(64, ge=2)
        kl_weight: float = Field(5e-3, ge=0)
        gamma: float = Field(5e-4, ge=0)
        temperature_decay: float = per_update(1e-5)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: FactorDVAE.Config = config
        self.encoder = network.encoder(image_shape, config.latents * config.symbols)
        self.decoder = network.decoder(config.latents, image_shape)
        self.codebook = nn.Parameter(torch.randn(config.symbols, 1))
        self.discriminator = adversary.discriminator_for(config, config.latents * config.symbols)

    def _log_posterior(self, x: Tensor) -> Tensor:
        """Return log q(symbol | x), [b, d, K]."""
        logits: Tensor = self.encoder(x).unflatten(1, (self.config.latents, self.config.symbols))
        return logits.log_softmax(dim=2)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the autoencoder's loss on the first batch of ``x``, and the discriminator's if there is one."""
        x, *others = x.chunk(self.config.players)
        temperature = quantise.temperature(self.config.temperature_decay, step)
        log_posterior = self._log_posterior(x)
        weights = quantise.gumbel_softmax(log_posterior, temperature, noise)
        error = self.error(self.decoder(quantise.mixture(weights, self.codebook).flatten(1)), x)
        kl = quantise.kl_to_uniform(log_posterior).mean()
        loss = error + self.config.kl_weight * kl
        logs = {self.reconstruction: error, "kl": kl}
        if self.discriminator is None:
            return {"autoencoder": loss}, logs
        tc = adversary.total_correlation(self.discriminator, weights)

        def other() -> Tensor:
            return quantise.gumbel_softmax(self._log_posterior(others[0]), temperature, noise)

        turn = adversary.discriminator_turn(self.discriminator, weights, other, noise)
        return {"autoencoder": loss + self.config.gamma * tc, "discriminator": turn}, logs | {"tc": tc}

    def encode(self, x: Tensor) -> Codes:
        """Return the most likely symbols and their values: the posterior's mode."""
        return quantise.codes(self.codebook, self._log_posterior(x).argmax(dim=2))

    def decode(self, codes: Codes) -> Tensor:
        """Return the images decoded from symbols."""
        return self.images(self.decoder(quantise.decoder_input(self.codebook, codes)))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return groups: the autoencoder with its codebook, and the discriminator at its own rate and moments."""
        return adversary.param_groups(self, self.discriminator, self.config)
