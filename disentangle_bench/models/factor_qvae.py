"""FactorQVAE.

Baykal, Kandemir & Unal, *Disentanglement with Factor Quantized Variational Autoencoders* (arXiv 2409.14851).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.models import adversary, quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise
from disentangle_bench.models.networks import Network


@final
class FactorQVAE(Model):
    """Scalar quantisation with one global codebook in a VAE, plus a total-correlation term.

    The encoder gives d scalars; each latent's posterior is a softmax over minus its squared distances to the K values
    of the codebook that all latents share. Training draws a Gumbel-softmax sample w at temperature
    exp(-temperature_decay * step) and decodes w @ codebook; evaluation takes the nearest value.
    Loss: MSE + kl_weight * KL(posterior || uniform) (sum over K, mean over batch and latents) + gamma * TC(w), where
    the discriminator of FactorVAE sees the d * K weights, a latent's K weights shuffled together. There is no
    codebook or commitment loss: the codebook learns through the decoder and the posterior.
    With ``gamma = 0`` there is no discriminator (the paper's QVAE).
    """

    version = 1

    class Config(adversary.Adversary):
        """``symbols``: K. The discriminator's defaults are the released code's."""

        symbols: int = Field(64, ge=2)
        kl_weight: float = Field(1e-3, ge=0)
        temperature_decay: float = Field(1e-5, ge=0)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: FactorQVAE.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)
        self.codebook = nn.Parameter(torch.randn(config.symbols))
        self.discriminator: nn.Module | None = None
        if config.gamma > 0:
            self.batches_per_update = 2
            inputs = config.latents * config.symbols
            self.discriminator = adversary.discriminator(inputs, config.discriminator_layers)

    def temperature(self, step: int) -> float:
        """Of the Gumbel-softmax sample at this update of the autoencoder."""
        return math.exp(-self.config.temperature_decay * step)

    def _log_posterior(self, x: Tensor) -> Tensor:
        """log q(symbol | x) of each latent, [b, d, K]."""
        return (-quantise.squared_distances(self.encoder(x), self.codebook)).log_softmax(dim=2)

    def losses(self, x: Tensor, step: int, noise: Noise) -> tuple[Losses, Logs]:
        """The autoencoder's loss on the first batch of ``x``, and the discriminator's if there is one."""
        x, *others = x.chunk(self.batches_per_update)
        log_posterior = self._log_posterior(x)
        weights = quantise.gumbel_softmax(log_posterior, self.temperature(step), noise)
        mse = F.mse_loss(self.decoder(weights @ self.codebook), x)
        kl = quantise.kl_to_uniform(log_posterior).mean()
        losses = {"autoencoder": mse + self.config.kl_weight * kl}
        logs = {"mse": mse.detach(), "kl": kl.detach()}
        if self.discriminator is not None:
            tc = adversary.total_correlation(self.discriminator, weights)
            with torch.no_grad():
                weights_other = quantise.gumbel_softmax(self._log_posterior(others[0]), self.temperature(step), noise)
                shuffled = adversary.shuffle_latents(weights_other, noise)
            losses["autoencoder"] = losses["autoencoder"] + self.config.gamma * tc
            losses["discriminator"] = adversary.discriminator_loss(self.discriminator, weights, shuffled)
            logs["tc"] = tc.detach()
        return losses, logs

    def encode(self, x: Tensor) -> Codes:
        """Nearest values and their indices: the posterior's mode."""
        indices = quantise.nearest(self.encoder(x), self.codebook)
        return Codes(quantise.look_up(self.codebook, indices), indices)

    def decode(self, codes: Codes) -> Tensor:
        """Images of latent values."""
        images: Tensor = self.decoder(codes.values)
        return images

    def param_groups(self) -> list[dict[str, Any]]:
        """The autoencoder with its codebook, and the discriminator at its own learning rate and moments."""
        groups: list[dict[str, Any]] = [
            {"params": [*self.encoder.parameters(), *self.decoder.parameters(), self.codebook]}
        ]
        if self.discriminator is not None:
            groups.append(adversary.param_group(self.discriminator, self.config))
        return groups
