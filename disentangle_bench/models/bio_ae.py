"""BioAE.

Whittington, Dorrell, Ganguli & Behrens, *Disentanglement with Biological Constraints: A Theory of Functional Cell
Types*, ICLR 2023 (arXiv 2210.01768), as QLAE's paper (arXiv 2305.18378) and FactorQVAE's (arXiv 2409.14851) compare
it.
"""

from __future__ import annotations

from typing import Any, final

from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network


@final
class BioAE(Model):
    """Autoencoder whose latents should be nonnegative and spend little energy, as firing rates do.

    The loss is MSE + nonneg_weight * mean(max(-z, 0)) + activity_weight * mean(z^2), with means over batch and latents.
    Weight decay limits the energy in the weights. Codes are z.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``weight_decay`` is decoupled and spares biases."""

        nonneg_weight: float = Field(1.0, ge=0)
        activity_weight: float = Field(0.01, ge=0)
        weight_decay: float = per_update(1e-4)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: BioAE.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the sum of the reconstruction, nonnegativity and activity losses."""
        z = self.encoder(x)
        error = self.error(self.decoder(z), x)
        nonneg, activity = (-z).relu().mean(), z.square().mean()
        loss = error + self.config.nonneg_weight * nonneg + self.config.activity_weight * activity
        logs = {self.reconstruction: error, "nonneg": nonneg, "activity": activity}
        return {"autoencoder": loss}, logs

    def encode(self, x: Tensor) -> Codes:
        """Return the encoder's output as codes."""
        return Codes(self.encoder(x))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on weights only."""
        return decayed(self, self.config.weight_decay)
