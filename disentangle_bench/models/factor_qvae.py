"""FactorQVAE.

Baykal, Kandemir & Unal, *Disentanglement with Factor Quantized Variational Autoencoders* (arXiv 2409.14851).
"""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from disentangle_bench.codes import Codes
from disentangle_bench.models import adversary, quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Step, per_update
from disentangle_bench.models.networks import Network


@final
class FactorQVAE(Model):
    """Scalar quantisation with one global codebook in a VAE, plus a total-correlation term.

    The encoder returns d scalars; each latent's posterior is a softmax over minus its squared distances to the K values
    of the codebook that all latents share. Training draws a Gumbel-softmax sample w at temperature
    exp(-temperature_decay * step) and decodes w @ codebook; evaluation takes the nearest value.

    The loss is MSE + kl_weight * KL(posterior || uniform) (sum over K, mean over batch and latents) + gamma * TC(w).
    The discriminator of FactorVAE sees the d * K weights; to shuffle them, a latent's K weights are kept together.
    There is no codebook or commitment loss: the codebook learns through the decoder and the posterior. With
    ``gamma = 0`` there is no discriminator (the paper's QVAE). The paper's ablations are settings: vectors in place of
    scalars (``embedding_dim``), and a codebook for each latent.
    """

    version = 1

    class Config(adversary.Adversary):
        """Settings of the model. ``symbols`` is K, and ``embedding_dim`` the length of the codebook's values, 1 for
        scalars. The discriminator's defaults are those of the released code.
        """

        symbols: int = Field(64, ge=2)
        embedding_dim: int = Field(1, ge=1)
        codebook: Literal["global", "per_latent"] = "global"
        kl_weight: float = Field(1e-3, ge=0)
        temperature_decay: float = per_update(1e-5)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: FactorQVAE.Config = config
        width = config.latents * config.embedding_dim
        self.encoder = network.encoder(image_shape, width)
        self.decoder = network.decoder(width, image_shape)
        latents = [config.latents] if config.codebook == "per_latent" else []
        self.codebook = nn.Parameter(torch.randn(*latents, config.symbols, config.embedding_dim))
        self.discriminator = adversary.discriminator_for(config, config.latents * config.symbols)

    def _tokens(self, x: Tensor) -> Tensor:
        return self.encoder(x).unflatten(1, (self.config.latents, self.config.embedding_dim))

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the autoencoder's loss on the first batch of ``x``, and the discriminator's if there is one."""
        x, *others = x.chunk(self.config.players)
        temperature = quantise.temperature(self.config.temperature_decay, step)
        log_posterior = quantise.log_posterior(self._tokens(x), self.codebook)
        weights = quantise.gumbel_softmax(log_posterior, temperature, noise)
        error = self.error(self.decoder(quantise.mixture(weights, self.codebook).flatten(1)), x)
        kl = quantise.kl_to_uniform(log_posterior).mean()
        loss = error + self.config.kl_weight * kl
        logs = {self.reconstruction: error, "kl": kl}
        if self.discriminator is None:
            return {"autoencoder": loss}, logs
        tc = adversary.total_correlation(self.discriminator, weights)

        def other() -> Tensor:
            log_posterior = quantise.log_posterior(self._tokens(others[0]), self.codebook)
            return quantise.gumbel_softmax(log_posterior, temperature, noise)

        turn = adversary.discriminator_turn(self.discriminator, weights, other, noise)
        return {"autoencoder": loss + self.config.gamma * tc, "discriminator": turn}, logs | {"tc": tc}

    def encode(self, x: Tensor) -> Codes:
        """Return the nearest values and their indices: the posterior's mode."""
        return quantise.codes(self.codebook, quantise.nearest(self._tokens(x), self.codebook))

    def decode(self, codes: Codes) -> Tensor:
        """Return the images decoded from symbols."""
        return self.images(self.decoder(quantise.decoder_input(self.codebook, codes)))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return groups: the autoencoder with its codebook, and the discriminator at its own rate and moments."""
        return adversary.param_groups(self, self.discriminator, self.config)
