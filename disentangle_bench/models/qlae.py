"""QLAE. Hsu et al., *Disentanglement via Latent Quantization*, NeurIPS 2023 (arXiv 2305.18378)."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from disentangle_bench.codes import Codes
from disentangle_bench.models import quantise
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network


@final
class QLAE(Model):
    """Autoencoder in which each latent is rounded to the nearest value of its own learnable scalar codebook.

    It has strong weight decay, which the paper calls the method's second half (section 3). The loss is
    MSE + quantisation_weight * mean (sg(z) - value)^2 + commitment_weight * mean (z - sg(value))^2.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``symbols`` is the number of values per latent; they start evenly spaced on
        [-0.5, 0.5] or drawn from a normal distribution (``initial``). ``weight_decay`` is decoupled and spares biases
        and codebooks.
        """

        symbols: int = Field(10, ge=2)
        initial: Literal["even", "normal"] = "even"
        quantisation_weight: float = Field(0.01, ge=0)
        commitment_weight: float = Field(0.01, ge=0)
        weight_decay: float = per_update(0.1)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: QLAE.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)
        even = torch.linspace(-0.5, 0.5, config.symbols).repeat(config.latents, 1)
        values = even if config.initial == "even" else torch.randn(config.latents, config.symbols)
        self.codebooks = nn.Parameter(values.unsqueeze(2))

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the sum of the reconstruction, quantisation and commitment losses."""
        z = self.encoder(x).unsqueeze(2)
        values = quantise.look_up(self.codebooks, quantise.nearest(z, self.codebooks))
        error = self.error(self.decoder(quantise.straight_through(z, values).flatten(1)), x)
        quantisation, commitment = quantise.quantisation_losses(z, values)
        loss = error + self.config.quantisation_weight * quantisation + self.config.commitment_weight * commitment
        return {"autoencoder": loss}, {self.reconstruction: error, "quantisation": quantisation}

    def encode(self, x: Tensor) -> Codes:
        """Return the nearest values and their indices."""
        return quantise.codes(self.codebooks, quantise.nearest(self.encoder(x).unsqueeze(2), self.codebooks))

    def decode(self, codes: Codes) -> Tensor:
        """Return the images decoded from latent values."""
        return self.images(self.decoder(quantise.decoder_input(self.codebooks, codes)))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on the networks' weights only."""
        return decayed(self, self.config.weight_decay, spared=[self.codebooks])
