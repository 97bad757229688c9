"""VQ-VAE with one token per latent. Van den Oord et al. 2017 (arXiv 1711.00937), as the QLAE paper compares it."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.models import quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network


@final
class VQVAE(Model):
    """Autoencoder of d tokens, each replaced by the nearest vector of one codebook (straight-through gradient).

    The loss is MSE + quantisation_weight * |sg(token) - vector|^2 + commitment_weight * |token - sg(vector)|^2, where
    squares are means over elements (van den Oord et al., equation 3). Codes are the vectors' indices; these have no
    order, and ``values`` are merely the same numbers.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``symbols`` is the number of vectors in the shared codebook, ``embedding_dim`` their
        length; ``weight_decay`` is decoupled and spares biases and the codebook.
        """

        symbols: int = Field(512, ge=2)
        embedding_dim: int = Field(64, ge=1)
        quantisation_weight: float = Field(1.0, ge=0)
        commitment_weight: float = Field(0.25, ge=0)
        weight_decay: float = per_update(0.01)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: VQVAE.Config = config
        width = config.latents * config.embedding_dim
        self.encoder = network.encoder(image_shape, width)
        self.decoder = network.decoder(width, image_shape)
        # Variance 1 / embedding_dim each, so that a vector's squared length is 1.
        bound = math.sqrt(3 / config.embedding_dim)
        self.codebook = nn.Parameter(torch.empty(config.symbols, config.embedding_dim).uniform_(-bound, bound))

    def _tokens(self, x: Tensor) -> Tensor:
        return self.encoder(x).unflatten(1, (self.config.latents, self.config.embedding_dim))

    def _nearest(self, tokens: Tensor) -> Tensor:
        """Return the indices [b, d] of the nearest vectors; the token's own square, the same for all, is left out."""
        with torch.no_grad():
            return (self.codebook.square().sum(1) - 2 * tokens @ self.codebook.T).argmin(dim=2)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the sum of the reconstruction, codebook and commitment losses."""
        tokens = self._tokens(x)
        vectors = F.embedding(self._nearest(tokens), self.codebook)
        reconstruction = self.decoder(quantise.straight_through(tokens, vectors).flatten(1))
        error = self.error(reconstruction, x)
        quantisation, commitment = quantise.quantisation_losses(tokens, vectors)
        loss = error + self.config.quantisation_weight * quantisation + self.config.commitment_weight * commitment
        return {"autoencoder": loss}, {self.reconstruction: error, "quantisation": quantisation}

    def encode(self, x: Tensor) -> Codes:
        """Return the indices of the nearest vectors, as values and as symbols."""
        return quantise.codes(self.codebook, self._nearest(self._tokens(x)))

    def decode(self, codes: Codes) -> Tensor:
        """Return the images decoded from symbols."""
        return self.images(self.decoder(quantise.decoder_input(self.codebook, codes)))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on the networks' weights only."""
        return decayed(self, self.config.weight_decay, spared=[self.codebook])
