"""MCC, the mean correlation coefficient of factors and latents matched one to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Evaluation
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.metrics._correlation import best_matching, correlation
from disentangle_bench.metrics.inputs import as_arrays, as_seed
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

FOLDS = 5

CARD = MetricCard(
    name="mcc",
    version=1,
    paper="Hyvarinen & Morioka 2016, Unsupervised feature extraction by time-contrastive learning; matched, coverage "
    "and the cross-fit: arXiv 2602.24278",
    summary="Mean absolute correlation of factors and latents under the best one-to-one matching",
    scores=(
        ScoreCard("matched", True, "mean over the matched pairs, matched on four folds and scored on the fifth"),
        ScoreCard("coverage", True, "the same sum over the number of factors: an unmatched factor counts 0"),
        ScoreCard("matched_in_sample", True, "matched and scored on the same rows, as papers quote it", ranked=False),
        ScoreCard("coverage_in_sample", True, "the same over the number of factors", ranked=False),
    ),
    variants={
        "pearson": "linear correlation of values and factors",
        "spearman": "correlation of their ranks: any rising map of a factor counts",
    },
)


def mcc(codes: Any, factors: Any, *, variant: str = "pearson", rng: int = 0) -> MetricResult:
    """Return MCC of ``codes`` (their values [n, d]) and ``factors`` [n, k], which may be real numbers, over all rows.

    ``variant`` is ``pearson`` (linear correlation) or ``spearman`` (correlation of ranks). The Hungarian algorithm
    matches min(d, k) pairs so that the sum of absolute correlations is largest. With many more latents than factors,
    that choice alone gives noise a score. Therefore ``matched`` and ``coverage`` match (and take the signs of the
    correlations) on four of five folds, drawn by ``rng``, and average the correlations on the fifth. The scores
    ``matched_in_sample`` and ``coverage_in_sample`` do both on all rows. The array is ``correlation`` [k, d] over all
    rows. A constant latent or factor has correlation 0.

    Raises ``BenchError`` for input that as_arrays rejects, fewer than ten rows, and an unknown ``variant``. Source:
    Hyvarinen & Morioka 2016; ``matched``, ``coverage`` and the folds: arXiv 2602.24278 (2026); from their formulas.
    """
    if variant not in CARD.variants:
        raise unknown("variant of mcc", variant, CARD.variants)
    arrays = as_arrays(codes, factors, real_factors=True)
    values, labels, n = arrays.values, arrays.factors, len(arrays.values)
    if n < 2 * FOLDS:
        raise BenchError(f"there are {n} rows; mcc needs {2 * FOLDS} or more, for {FOLDS} folds: give more rows.")
    ranks = variant == "spearman"
    whole = correlation(labels, values, ranks=ranks)
    in_sample = np.abs(whole)[best_matching(np.abs(whole))].sum()
    fold = np.random.default_rng(as_seed(rng)).permutation(n) % FOLDS
    crossed = np.mean([_heldout(labels, values, fold == number, ranks) for number in range(FOLDS)])
    pairs, k = min(whole.shape), whole.shape[0]
    scores = {
        "matched": crossed / pairs,
        "coverage": crossed / k,
        "matched_in_sample": in_sample / pairs,
        "coverage_in_sample": in_sample / k,
    }
    return MetricResult({name: float(score) for name, score in scores.items()}, {"correlation": whole})


def _heldout(labels: npt.NDArray[Any], values: npt.NDArray[Any], test: npt.NDArray[np.bool_], ranks: bool) -> float:
    """Return the sum of the test correlations of the pairs matched on the other rows, with the signs found there."""
    fitted = correlation(labels[~test], values[~test], ranks=ranks)
    pairs = best_matching(np.abs(fitted))
    tested = correlation(labels[test], values[test], ranks=ranks)
    return float((np.sign(fitted[pairs]) * tested[pairs]).sum())


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score all rows of an evaluation's values; ``rng`` draws the folds."""
    return mcc(evaluation.codes, evaluation.factors, variant=variant, rng=rng)
