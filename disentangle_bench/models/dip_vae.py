"""DIP-VAE, forms I and II.

Kumar, Sattigeri & Balakrishnan, *Variational Inference of Disentangled Latent Concepts from Unlabeled Observations*,
ICLR 2018 (arXiv 1711.00848).
"""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models import gaussian
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step
from disentangle_bench.models.networks import Network


@final
class DIPVAE(Model):
    """Model with the loss MSE + kl_weight * (KL + lambda_od * sum_{i != j} C_ij^2 + lambda_d * sum_i (C_ii - 1)^2).

    C is the minibatch's covariance of the posterior means (DIP-VAE-I) or of the samples z ~ q(z | x), which adds the
    mean of the posterior variances on the diagonal (DIP-VAE-II). KL is a sum over latents and a mean over the batch.
    Codes are posterior means.
    """

    version = 1

    class Config(Settings):
        """Settings of the model. ``covariance`` chooses the covariance of the posterior means, or of samples.
        ``kl_weight`` weighs the evidence bound's KL divergence and the paper's two terms together against the mean
        squared error; ``lambda_od`` and ``lambda_d`` are the paper's.
        """

        covariance: Literal["means", "samples"] = "samples"
        kl_weight: float = Field(4e-5, ge=0)
        lambda_od: float = Field(10.0, ge=0)
        lambda_d: float = Field(10.0, ge=0)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: DIPVAE.Config = config
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the negative evidence bound, per pixel, plus the covariance's distance from the identity."""
        error, kl, mean, log_variance, _ = gaussian.bound(self, x, noise)
        covariance = gaussian.covariance(mean)
        if self.config.covariance == "samples":
            covariance = covariance + log_variance.exp().mean(0).diag()
        penalty = gaussian.covariance_penalty(
            covariance, off_diagonal=self.config.lambda_od, diagonal=self.config.lambda_d
        )
        loss = error + self.config.kl_weight * (kl + penalty)
        logs = {self.reconstruction: error, "kl": kl, "penalty": penalty}
        return {"autoencoder": loss}, logs

    def encode(self, x: Tensor) -> Codes:
        """Return posterior means as codes."""
        return gaussian.codes(self.encoder(x))
