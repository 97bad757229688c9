"""A plain autoencoder, the baseline without any pressure on its codes."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network


@final
class AE(Model):
    """Autoencoder trained on MSE alone. Codes are the encoder's output."""

    version = 1

    class Config(Settings):
        """Settings of the model. ``weight_decay`` is decoupled and spares biases."""

        weight_decay: float = per_update(0.0)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: AE.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the reconstruction loss of the batch ``x`` [b, c, h, w]."""
        error = self.error(self.decoder(self.encoder(x)), x)
        return {"autoencoder": error}, {self.reconstruction: error}

    def encode(self, x: Tensor) -> Codes:
        """Return the encoder's output as codes."""
        return Codes(self.encoder(x))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on weights only."""
        return decayed(self, self.config.weight_decay)
