"""Modularity (Ridgeway & Mozer 2018), computed as by Locatello et al. (2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics._information import histogram_symbols, plug_in_information
from disentangle_bench.metrics.inputs import as_arrays
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

BINS = 20

CARD = MetricCard(
    name="modularity",
    version=2,
    paper="Ridgeway & Mozer 2018, Learning deep disentangled embeddings with the F-statistic loss; "
    "Locatello et al. 2019",
    summary="How far each latent is from the ideal of telling of one factor only, mean over latents",
    scores=(ScoreCard("score", True, "mean modularity"),),
    variants={"locatello2019": "values cut into 20 bins of equal width, plug-in information, training rows"},
)


def modularity(codes: Any, factors: Any, *, n_train: int | None = None) -> MetricResult:
    """Return modularity of ``codes`` (their values [n, d]) and ``factors`` [n, k], first ``n_train`` rows (None: all).

    The score is ``score`` in [0, 1]; the arrays are ``information`` [k, d] in nats and ``by_latent`` [d]. A latent
    without information scores 0. With only one factor the formula divides by zero, so the score is NaN, with a note.

    Raises ``BenchError`` for input that as_arrays rejects. Source: Ridgeway & Mozer 2018; code of Locatello et al.
    2019: google-research/disentanglement_lib on GitHub, disentanglement_lib/evaluation/metrics/
    modularity_explicitness.py.
    """
    arrays = as_arrays(codes, factors, n_train)
    values, labels = arrays.values[: arrays.n_train], arrays.factors[: arrays.n_train]
    information = plug_in_information(histogram_symbols(values, BINS), labels)
    squared = information**2
    best = squared.max(axis=0)
    others = squared.shape[0] - 1
    notes = {}
    if others == 0:
        by_latent = np.full(squared.shape[1], np.nan)
        notes["score"] = "not defined: one factor, two are needed"
    else:
        by_latent = np.where(best > 0, 1 - (squared.sum(axis=0) - best) / np.where(best > 0, best * others, 1.0), 0.0)
    return MetricResult({"score": float(by_latent.mean())}, {"information": information, "by_latent": by_latent}, notes)


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score the training rows of an evaluation's values; there is only one ``variant``, and ``rng`` is not used."""
    return modularity(evaluation.codes, evaluation.factors, n_train=evaluation.n_train)
