"""Modularity (Ridgeway & Mozer 2018), as computed by Locatello et al. (2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.codes import Evaluation, MetricCard, MetricResult, ScoreCard
from disentangle_bench.errors import unknown
from disentangle_bench.metrics.information import histogram_symbols, plug_in_information
from disentangle_bench.metrics.inputs import as_arrays

BINS = 20

CARD = MetricCard(
    name="modularity",
    version=1,
    paper="Ridgeway & Mozer 2018, Learning deep disentangled embeddings with the F-statistic loss; "
    "Locatello et al. 2019",
    summary="How far each latent is from the ideal of telling of one factor only, mean over latents",
    scores=(ScoreCard("score", True, "mean modularity"),),
    variants={"locatello2019": "values cut into 20 bins of equal width, plug-in information, training rows"},
)


def modularity(
    codes: Any, factors: Any, *, variant: str = "locatello2019", n_train: int | None = None
) -> dict[str, Any]:
    """Modularity of codes' values [n, d] and factors [n, k] over the first ``n_train`` rows (None: all).

    Gives ``score`` in [0, 1], ``information`` [k, d] in nats, ``by_latent`` [d] and ``notes``. A latent without
    information scores 0. With one factor the formula divides by zero: NaN, with a note. Raises BenchError for input
    that as_arrays refuses and for an unknown variant.
    """
    if variant not in CARD.variants:
        raise unknown("variant of modularity", variant, CARD.variants)
    arrays = as_arrays(codes, factors, n_train)
    values, labels = arrays.values[: arrays.n_train], arrays.factors[: arrays.n_train]
    information = plug_in_information(histogram_symbols(values, BINS), labels)
    squared = information**2
    best = squared.max(axis=0)
    others = squared.shape[0] - 1
    if others == 0:
        by_latent = np.full(squared.shape[1], np.nan)
        notes = {"score": "not defined: one factor, two are needed"}
    else:
        by_latent = np.where(best > 0, 1 - (squared.sum(axis=0) - best) / np.where(best > 0, best * others, 1.0), 0.0)
        notes = {}
    return {"score": float(by_latent.mean()), "information": information, "by_latent": by_latent, "notes": notes}


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score the training rows of an evaluation's values; ``rng`` is not used."""
    found = modularity(evaluation.codes.values, evaluation.factors, variant=variant, n_train=evaluation.n_train)
    arrays = {"information": found["information"], "by_latent": found["by_latent"]}
    return MetricResult({"score": found["score"]}, arrays, found["notes"])
