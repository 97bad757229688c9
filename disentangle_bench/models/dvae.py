"""The discrete VAE with a global scalar codebook.

Gumbel-softmax latents: Jang, Gu & Poole 2017 (arXiv 1611.01144), Maddison, Mnih & Teh 2017 (arXiv 1611.00712). In the
form that Baykal, Kandemir & Unal (arXiv 2409.14851) compare FactorQVAE with.
"""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.models import quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, per_update
from disentangle_bench.models.networks import Network


@final
class DVAE(Model):
    """The encoder gives each of d latents K logits; each symbol stands for a scalar of one codebook that all latents
    share.

    Training draws a Gumbel-softmax sample w at temperature exp(-temperature_decay * step) and decodes w @ codebook;
    evaluation takes the likeliest symbol. Loss: MSE + kl_weight * KL(softmax(logits) || uniform) (sum over K, mean over
    batch and latents).
    """

    version = 1

    class Config(Settings):
        """``symbols``: K; ``temperature_decay``: per step of the protocol's clock."""

        symbols: int = Field(64, ge=2)
        kl_weight: float = Field(5e-3, ge=0)
        temperature_decay: float = per_update(1e-5)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: DVAE.Config = config
        self.encoder = network.encoder(image_shape, config.latents * config.symbols)
        self.decoder = network.decoder(config.latents, image_shape)
        self.codebook = nn.Parameter(torch.randn(config.symbols, 1))

    def _log_posterior(self, x: Tensor) -> Tensor:
        """log q(symbol | x), [b, d, K]."""
        logits: Tensor = self.encoder(x).unflatten(1, (self.config.latents, self.config.symbols))
        return logits.log_softmax(dim=2)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """The negative evidence bound, reconstruction per pixel, under a uniform prior of the symbols."""
        log_posterior = self._log_posterior(x)
        temperature = quantise.temperature(self.config.temperature_decay, step)
        weights = quantise.gumbel_softmax(log_posterior, temperature, noise)
        mse = F.mse_loss(self.decoder(quantise.mixture(weights, self.codebook).flatten(1)), x)
        kl = quantise.kl_to_uniform(log_posterior).mean()
        return {"autoencoder": mse + self.config.kl_weight * kl}, {"mse": mse.detach(), "kl": kl.detach()}

    def encode(self, x: Tensor) -> Codes:
        """The likeliest symbols and their values: the posterior's mode."""
        return quantise.codes(self.codebook, self._log_posterior(x).argmax(dim=2))

    def decode(self, codes: Codes) -> Tensor:
        """Images of symbols."""
        images: Tensor = self.decoder(quantise.decoder_input(self.codebook, codes))
        return images
