"""An autoencoder with weight decay, followed by independent component analysis of its codes after training.

Nelson, Fumero, Karaletsos & Locatello, *Statistical and Structural Identifiability in Representation Learning*,
ICLR 2026 (arXiv 2603.11970).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from disentangle_bench.codes import Codes
from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings, Step, decayed, per_update
from disentangle_bench.models.networks import Network

IMAGES = 10_000
"""Number of training images that the components are fitted to."""

ITERATIONS, TOLERANCE = 1000, 1e-4

VARIANCE_FLOOR = 1e-6
"""Least variance of a principal direction, as a share of the largest; a direction with less counts as constant."""

CODE_VARIANCE_FLOOR = 1e-12
"""Least variance of a principal direction where all directions have next to none."""

Array: TypeAlias = npt.NDArray[np.float64]


@final
class AEICA(Model):
    """Autoencoder whose codes, once training is over, are whitened and rotated to be as independent as possible.

    The loss is MSE. Codes are the sources s = unmixing @ (z - mean), and the decoder gets z = mixing @ s + mean, so
    that reconstructions are the autoencoder's own. Until ``finish`` has fitted them, both matrices are the identity
    and the mean is 0.
    """

    version = 1
    mean: Tensor
    unmixing: Tensor
    mixing: Tensor

    class Config(Settings):
        """Settings of the model. ``weight_decay`` is decoupled and spares biases."""

        weight_decay: float = per_update(0.1)

    def __init__(self, config: Config, *, image_shape: ImageShape, n_train: int, network: Network) -> None:
        super().__init__()
        self.config: AEICA.Config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)
        self.register_buffer("mean", torch.zeros(config.latents))
        self.register_buffer("unmixing", torch.eye(config.latents))
        self.register_buffer("mixing", torch.eye(config.latents))

    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return the reconstruction loss of the batch ``x`` [b, c, h, w]."""
        error = self.error(self.decoder(self.encoder(x)), x)
        return {"autoencoder": error}, {self.reconstruction: error}

    def finish(self, images: Callable[[int], Iterator[Tensor]]) -> None:
        """Fit the components to the codes of training images."""
        z = torch.cat([self.encoder(x) for x in images(IMAGES)])
        fitted = independent_components(z.cpu().double().numpy())
        for buffer, value in zip((self.mean, self.unmixing, self.mixing), fitted, strict=True):
            buffer.copy_(torch.from_numpy(value))

    def encode(self, x: Tensor) -> Codes:
        """Return the sources as codes."""
        return Codes((self.encoder(x) - self.mean) @ self.unmixing.T)

    def decode(self, codes: Codes) -> Tensor:
        """Return the images decoded from sources."""
        return self.images(self.decoder(codes.values @ self.mixing.T + self.mean))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with weight decay on weights only."""
        return decayed(self, self.config.weight_decay)


def independent_components(z: Array) -> tuple[Array, Array, Array]:
    """Return the mean [d], the unmixing matrix [d, d] and its inverse, the mixing matrix, of codes [n, d].

    Sources are unmixing @ (z - mean). Codes are whitened by principal components, then rotated by FastICA (Hyvärinen
    1999: log cosh, all components in parallel) from a fixed start; if it does not converge, the result of its last
    iteration is used. Directions with next to no variance are left out of FastICA: they stay as they are, and the floor
    keeps them from being scaled up.
    """
    from sklearn.decomposition import fastica
    from sklearn.exceptions import ConvergenceWarning

    mean = z.mean(axis=0)
    variances, directions = np.linalg.eigh((z - mean).T @ (z - mean) / len(z))
    floor = max(VARIANCE_FLOOR * variances.max(), CODE_VARIANCE_FLOOR)
    deviations = np.sqrt(np.maximum(variances, floor))
    live = variances > floor
    rotation = np.eye(len(mean))
    if live.sum() > 1:
        white = (z - mean) @ directions[:, live] / deviations[live]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, unmixing, _ = fastica(white, whiten=False, max_iter=ITERATIONS, tol=TOLERANCE, random_state=0)
        rotation[np.ix_(live, live)] = unmixing
    return mean, rotation @ (directions / deviations).T, directions * deviations @ rotation.T
