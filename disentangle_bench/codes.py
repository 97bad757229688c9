"""What a model says about images, and all that a metric may see of a run.

Axis words used everywhere: n images, b batch, d latents, k factors, v symbols per latent, c h w.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Codes:
    """The codes of some images.

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
        """Whether the model's latents are symbols."""
        return self.indices is not None


@dataclass(frozen=True)
class Evaluation:
    """One trained model's codes of the evaluation sample, as numpy arrays.

    ``codes`` and ``factors`` [n, k] (integers) have the same n rows; the first ``n_train`` are for fitting probes
    and predictors, the rest for testing them. ``squared_error`` [n] is each image's mean squared reconstruction
    error over pixels and channels, images in [0, 1]; None where there are no images (codes from elsewhere).
    """

    codes: Codes
    factors: npt.NDArray[np.int64]
    n_train: int
    squared_error: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class ScoreCard:
    """One number of a metric: its name without the metric's, and whether more is better.

    ``ranked`` is False for a number that describes the codes and is no contest: models are not ranked by it.
    ``variants`` names the metric's variants that give this score; empty means all of them.
    """

    name: str
    higher_is_better: bool
    summary: str
    unit: str = ""
    ranked: bool = True
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricCard:
    """What a metric is: a change of its numbers bumps ``version`` and has a line in the CHANGELOG.

    ``variants`` maps each variant's name to one line that says what its choices are; the first is the default. A
    score is known by metric, score, variant and version together: scores that differ in one are never mixed.
    """

    name: str
    version: int
    paper: str
    summary: str
    scores: tuple[ScoreCard, ...]
    variants: dict[str, str]

    @property
    def default_variant(self) -> str:
        """The variant that is used when none is named."""
        return next(iter(self.variants))

    def scores_of(self, variant: str) -> tuple[ScoreCard, ...]:
        """Return the cards of the scores that a variant gives, each name once."""
        return tuple(score for score in self.scores if not score.variants or variant in score.variants)


@dataclass(frozen=True)
class MetricResult:
    """What a metric gives: ``scores`` by score name, the matrices behind them, and remarks on how they were made.

    A score that is not defined for these codes is NaN, and ``notes`` says why.
    """

    scores: dict[str, float]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
