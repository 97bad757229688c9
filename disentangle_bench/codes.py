"""The codes of images, and everything that a metric may see of a run.

Axis words used everywhere: n images, b batch, d latents, k factors, v symbols per latent, c h w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Codes:
    """Codes of some images.

    ``values`` [n, d] are the latents' numeric values (posterior means or quantised scalars); tree-based metrics read
    their order. ``indices`` [n, d] are the chosen symbols of the latents, which estimators for discrete variables read,
    or None for a continuous model. ``deviations`` [n, d] are the posterior's standard deviations if it is Gaussian.
    Models fill in torch tensors; metrics get numpy arrays.
    """

    values: Any
    indices: Any | None = None
    deviations: Any | None = None

    @property
    def discrete(self) -> bool:
        """Return whether the model's latents are symbols."""
        return self.indices is not None


@dataclass(frozen=True)
class Evaluation:
    """One trained model's codes of the evaluation sample, as numpy arrays.

    ``codes`` and ``factors`` [n, k] (integers, or real numbers from elsewhere) have the same n rows; the first
    ``n_train`` are for fitting probes and predictors, the rest for testing them. ``squared_error`` [n] is each image's
    mean squared reconstruction error over pixels and channels, for images in [0, 1]; ``index`` [n] is each image's
    position in the dataset. Both are None where there are no images (codes from elsewhere). ``latent_names`` (d) and
    ``factor_names`` (k) are empty if none were given.
    """

    codes: Codes
    factors: npt.NDArray[Any]
    n_train: int
    squared_error: npt.NDArray[np.float64] | None = None
    index: npt.NDArray[np.int64] | None = None
    latent_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
