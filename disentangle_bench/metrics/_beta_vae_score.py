"""The beta-VAE score (Higgins et al. 2017), computed as by Locatello et al. (2019) but from stored rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics._fixed_factor import FixedFactorRows, halves
from disentangle_bench.metrics.inputs import as_seed
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

BATCH = 64
TRAIN_POINTS = 10_000
TEST_POINTS = 5_000
_CHUNK = 1_000  # points whose codes are gathered at a time

CARD = MetricCard(
    name="beta_vae_score",
    version=1,
    paper="Higgins et al. 2017, beta-VAE, section 3; Locatello et al. 2019",
    summary="Accuracy of a linear classifier that names the factor that pairs of images share",
    scores=(ScoreCard("score", True, "test accuracy"),),
    variants={"locatello2019": "10,000 training and 5,000 test points of 64 pairs, drawn from the evaluation rows"},
)


def beta_vae_score(codes: Any, factors: Any, *, n_train: int | None = None, rng: int = 0) -> MetricResult:
    """Return the beta-VAE score of ``codes`` (their values [n, d]) and ``factors`` [n, k].

    To make a point, a random factor is fixed and 64 pairs of different rows are drawn; the rows of a pair share a value
    of that factor, which may differ between pairs. The point is the mean absolute difference of the pairs' codes [d].
    scikit-learn's logistic regression with its defaults learns to name the fixed factor from points drawn from the
    first ``n_train`` rows and is tested on points from the rest. If ``n_train`` is None or n, both come from all rows,
    and a note says so.

    The score is ``score`` (test accuracy); the array is ``mean_difference`` [k, d], the mean of the training points of
    each factor (NaN for a factor left out). ``rng`` seeds the draws.

    Raises ``BenchError`` for input that as_arrays rejects and for fewer than two factors that can be held fixed.
    Source: Higgins et al. 2017, section 3; code of Locatello et al. 2019: google-research/disentanglement_lib on
    GitHub, disentanglement_lib/evaluation/metrics/beta_vae.py, which draws new pairs from all images.
    """
    data = halves(codes, factors, n_train, CARD.name)
    generator = np.random.default_rng(as_seed(rng))
    points, fixed = _points(data.train, data.parts[0], data.usable, TRAIN_POINTS, generator)
    test_points, test_fixed = _points(data.test, data.parts[1], data.usable, TEST_POINTS, generator)
    model = _classifier(points, fixed)
    difference = np.full((data.factors, data.train.shape[1]), np.nan)
    for factor in data.usable:
        if (fixed == factor).any():
            difference[factor] = points[fixed == factor].mean(axis=0)
    accuracy = float((model.predict(test_points) == test_fixed).mean())
    return MetricResult({"score": accuracy}, {"mean_difference": difference}, data.notes)


def _points(
    values: npt.NDArray[np.float64], rows: FixedFactorRows, usable: list[int], count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return points [count, d] and the factor [count] that each held fixed."""
    points, fixed = [], []
    shares = rng.multinomial(count, np.full(len(usable), 1 / len(usable)))
    for factor, share in zip(usable, shares, strict=True):
        for start in range(0, int(share), _CHUNK):
            first, second = rows.pairs(factor, min(_CHUNK, int(share) - start), BATCH, rng)
            points.append(np.abs(values[first] - values[second]).mean(axis=1))
        fixed.append(np.full(int(share), factor))
    return np.concatenate(points), np.concatenate(fixed)


def _classifier(points: npt.NDArray[np.float64], fixed: npt.NDArray[np.int64]) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression().fit(points, fixed)


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score an evaluation's values; ``rng`` seeds the draws."""
    return beta_vae_score(evaluation.codes, evaluation.factors, n_train=evaluation.n_train, rng=rng)
