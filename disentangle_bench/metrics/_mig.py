"""MIG, the mutual information gap (Chen et al. 2018), computed as by Locatello et al. (2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics._information import entropy, histogram_symbols, plug_in_information, relabel
from disentangle_bench.metrics.inputs import as_arrays
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard, mean_over_factors

BINS = 20

CARD = MetricCard(
    name="mig",
    version=1,
    paper="Chen et al. 2018, Isolating sources of disentanglement in VAEs, section 4.1; Locatello et al. 2019",
    summary="Gap between the two latents that know most of a factor, as a share of its entropy, mean over factors",
    scores=(ScoreCard("score", True, "mean normalised gap"),),
    variants={"locatello2019": "values cut into 20 bins of equal width, plug-in information, training rows"},
)


def mig(codes: Any, factors: Any, *, n_train: int | None = None) -> MetricResult:
    """Return MIG of ``codes`` (their values [n, d]) and ``factors`` [n, k], first ``n_train`` rows (None: all).

    The score is ``score`` in [0, 1]; the arrays are ``information`` [k, d] in nats and ``gaps`` [k]. If there is only
    one latent, the second-best information is 0. A factor that is constant over the rows has no gap (NaN) and is left
    out of the mean; if all are constant, the score is NaN.

    Raises ``BenchError`` for input that as_arrays rejects. Source: Chen et al. 2018, section 4.1; code of Locatello et
    al. 2019: google-research/disentanglement_lib on GitHub, disentanglement_lib/evaluation/metrics/mig.py.
    """
    arrays = as_arrays(codes, factors, n_train)
    values, labels = arrays.values[: arrays.n_train], relabel(arrays.factors[: arrays.n_train])
    information = plug_in_information(histogram_symbols(values, BINS), labels)
    entropies = np.array([entropy(column) for column in labels.T])
    ranked = np.sort(np.column_stack([np.zeros(len(information)), information]), axis=1)
    gaps = np.where(entropies > 0, (ranked[:, -1] - ranked[:, -2]) / np.where(entropies > 0, entropies, 1.0), np.nan)
    notes: dict[str, str] = {}
    return MetricResult({"score": mean_over_factors(gaps, notes)}, {"information": information, "gaps": gaps}, notes)


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score the training rows of an evaluation's values; there is only one ``variant``, and ``rng`` is not used."""
    return mig(evaluation.codes, evaluation.factors, n_train=evaluation.n_train)
