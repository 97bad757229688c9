"""Finite scalar quantisation.

Mentzer et al., *Finite Scalar Quantization: VQ-VAE Made Simple* (arXiv 2309.15505), in the form of Tripod's first leg:
Hsu et al., *Tripod: Three Complementary Inductive Biases for Disentangled Representation Learning* (arXiv 2404.10282).
"""

from __future__ import annotations

from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.models import quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network

EPSILON = 1e-5
"""Added to the mean square of latents before they are divided by its root."""


@final
class FSQ(Model):
    """Autoencoder whose latents go through tanh and are rounded to the nearest of ``symbols`` evenly spaced values.

    The values range from -1 to 1, both ends included; they are fixed and the same for all latents. Rounding has a
    straight-through gradient. The loss is MSE alone. Before the tanh, an image's latents are divided by their root mean
    square. Otherwise the first updates, which fit the images' mean, would push all codes to the grid's ends, where the
    tanh has no gradient left; the papers' encoders have normalising layers, but these networks have none.
    """

    version = 1
    grid: Tensor

    class Config(Settings):
        """Settings of the model. ``symbols`` is the number of values per latent; ``weight_decay`` is decoupled and
        spares biases.
        """

        symbols: int = Field(12, ge=2)
        weight_decay: float = per_update(0.0)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: FSQ.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)
        self.register_buffer("grid", torch.linspace(-1, 1, config.symbols).unsqueeze(1))

    def _tokens(self, x: Tensor) -> Tensor:
        latents = F.rms_norm(self.encoder(x), [self.config.latents], eps=EPSILON)
        return latents.tanh().unsqueeze(2)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the reconstruction loss of the batch ``x`` [b, c, h, w]."""
        tokens = self._tokens(x)
        values = quantise.look_up(self.grid, quantise.nearest(tokens, self.grid))
        error = self.error(self.decoder(quantise.straight_through(tokens, values).flatten(1)), x)
        return {"autoencoder": error}, {self.reconstruction: error}

    def encode(self, x: Tensor) -> Codes:
        """Return the nearest values and their indices."""
        return quantise.codes(self.grid, quantise.nearest(self._tokens(x), self.grid))

    def decode(self, codes: Codes) -> Tensor:
        """Return the images decoded from symbols."""
        return self.images(self.decoder(quantise.decoder_input(self.grid, codes)))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on weights only."""
        return decayed(self, self.config.weight_decay)
