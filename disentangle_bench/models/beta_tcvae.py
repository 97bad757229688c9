"""beta-TCVAE. Chen et al., *Isolating Sources of Disentanglement in VAEs*, NeurIPS 2018 (arXiv 1802.04942)."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models import gaussian
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step
from disentangle_bench.models.networks import Network


@final
class BetaTCVAE(Model):
    """Model with loss MSE + kl_weight * (MI + tc_weight * TC + dimension-wise KL) (paper, eq. 4; alpha = gamma = 1).

    The three terms are minibatch estimates of the parts of the KL divergence; see ``gaussian.split_kl``.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``tc_weight`` is the paper's beta; ``estimator`` is minibatch-weighted or
        minibatch-stratified sampling.
        """

        kl_weight: float = Field(1e-4, ge=0)
        tc_weight: float = Field(6.0, ge=0)
        estimator: Literal["weighted", "stratified"] = "weighted"

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: BetaTCVAE.Config = config
        self.n_train = n_train
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the negative evidence bound with a separate weight on the total correlation."""
        mean, log_variance = gaussian.split(self.encoder(x))
        z = gaussian.sample(mean, log_variance, noise)
        error = self.error(self.decoder(z), x)
        stratified = self.config.estimator == "stratified"
        mi, tc, dimension_kl = gaussian.split_kl(z, mean, log_variance, n_train=self.n_train, stratified=stratified)
        loss = error + self.config.kl_weight * (mi + self.config.tc_weight * tc + dimension_kl)
        logs = {self.reconstruction: error, "mi": mi, "tc": tc, "dimension_kl": dimension_kl}
        return {"autoencoder": loss}, logs

    def encode(self, x: Tensor) -> Codes:
        """Return posterior means as codes."""
        return gaussian.codes(self.encoder(x))
