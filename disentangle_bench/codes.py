"""Codes that a model gives to images, and all that a metric may see of a run.

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

    ``values`` [n, d] is the latents' numeric value (posterior mean, quantised scalar): tree-based metrics read its
    order. ``indices`` [n, d] is the chosen symbol of each latent, or None for a continuous model: estimators for
    discrete variables read it. ``deviations`` [n, d] are the posterior's standard deviations where it is Gaussian.
    Models fill it with torch tensors, metrics get numpy arrays.
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
    mean squared reconstruction error over pixels and channels, images in [0, 1]; ``index`` [n] is each image's position
    in the dataset. Both are None where there are no images (codes from elsewhere). ``latent_names`` (d) and
    ``factor_names`` (k) are empty where nobody gave any.
    """

    codes: Codes
    factors: npt.NDArray[Any]
    n_train: int
    squared_error: npt.NDArray[np.float64] | None = None
    index: npt.NDArray[np.int64] | None = None
    latent_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
