"""Minimality and sufficiency of single latents, from an information matrix like that of MIG (arXiv 2408.07016)."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics._information import entropy, histogram_symbols, plug_in_information, relabel
from disentangle_bench.metrics.inputs import as_arrays
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard, mean_over_factors

BINS = 15

CARD = MetricCard(
    name="minimality",
    version=1,
    paper="arXiv 2408.07016 (minimality and sufficiency of representations, 2024)",
    summary="Share of a latent's entropy that is about one factor, and of a factor's entropy that one latent knows",
    scores=(
        ScoreCard("minimality", True, "mean over latents of the largest I(y; z) / H(z)"),
        ScoreCard("sufficiency", True, "mean over factors of the largest I(y; z) / H(y)"),
    ),
    variants={"bins15": "values cut into 15 bins of equal width, plug-in information, training rows"},
)


def minimality(codes: Any, factors: Any, *, n_train: int | None = None) -> MetricResult:
    """Return minimality and sufficiency of ``codes`` (values [n, d]) and ``factors`` [n, k], first ``n_train`` rows
    (None: all).

    A latent is minimal if it holds information on only one factor; it is sufficient for a factor if it holds all
    information on it. The scores are ``minimality`` and ``sufficiency`` in [0, 1]; the arrays are ``information``
    [k, d] in nats, ``by_latent`` [d] and ``by_factor`` [k]. A constant latent holds nothing, so it is left out of
    minimality (NaN); if all latents are constant, minimality is 0. A constant factor is left out of sufficiency (NaN);
    if all factors are constant, sufficiency is NaN.

    Raises ``BenchError`` for input that as_arrays rejects. Source: arXiv 2408.07016 (2024), from its formulas.
    """
    arrays = as_arrays(codes, factors, n_train)
    symbols = relabel(histogram_symbols(arrays.values[: arrays.n_train], BINS))
    labels = relabel(arrays.factors[: arrays.n_train])
    information = plug_in_information(symbols, labels)
    by_latent = _share(information.max(axis=0), symbols)
    by_factor = _share(information.max(axis=1), labels)
    notes: dict[str, str] = {}
    constant = np.flatnonzero(np.isnan(by_latent))
    if len(constant) == len(by_latent):
        notes["minimality"] = "0: no latent varies"
    elif len(constant):
        notes["minimality"] = f"constant latents are left out: {', '.join(map(str, constant))}"
    scores = {
        "minimality": 0.0 if len(constant) == len(by_latent) else float(np.nanmean(by_latent)),
        "sufficiency": mean_over_factors(by_factor, notes),
    }
    return MetricResult(scores, {"information": information, "by_latent": by_latent, "by_factor": by_factor}, notes)


def _share(information: Any, variables: Any) -> Any:
    """Return information [c] divided by the entropy of each column of variables [n, c]; NaN for a constant column."""
    entropies = np.array([entropy(column) for column in variables.T])
    return np.where(entropies > 0, information / np.where(entropies > 0, entropies, 1.0), np.nan)


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score the training rows of an evaluation's values; there is only one ``variant``, and ``rng`` is not used."""
    return minimality(evaluation.codes, evaluation.factors, n_train=evaluation.n_train)
