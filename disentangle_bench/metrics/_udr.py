"""UDR, the unsupervised disentanglement ranking of runs by their agreement with other seeds (Duan et al. 2020)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.metrics._correlation import unit_columns
from disentangle_bench.metrics._latents import active_latents
from disentangle_bench.metrics.inputs import as_group
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

CARD = MetricCard(
    name="udr",
    version=1,
    paper="Duan et al. 2020, Unsupervised model selection for variational disentangled representation learning",
    summary="One-to-one agreement of latents with those of other seeds, median over the others; no factors",
    scores=(ScoreCard("score", True, "mean over the runs of a group of their UDR"),),
    variants={"spearman": "absolute Spearman correlation; latents whose range is over a twentieth of the largest"},
)


def udr(codes: Sequence[Any]) -> MetricResult:
    """Return UDR of several runs' ``codes``, each [n, d], of the same n images.

    For a pair of runs, R [a, b] is the absolute rank correlation of their active latents. Each active latent of either
    run has a row (or column) of R, whose largest entry is squared and divided by the row's sum. The pair's agreement is
    the mean of these: 1 if each latent has one perfect partner. A run's UDR is the median of its agreement with the
    other runs. The score is ``score``, the mean over runs; the arrays are ``by_run`` [s] and ``pairs`` [s, s] (NaN on
    the diagonal). A run without an active latent agrees with no other: 0.

    Active latents replace the paper's latents with enough KL divergence, which stored codes do not record.

    Raises ``BenchError`` for fewer than two runs, shapes that are not the same [n, d], and codes that as_codes rejects.
    Source: Duan et al. 2020; code: google-research/disentanglement_lib on GitHub,
    disentanglement_lib/evaluation/udr/metrics/udr.py.
    """
    # The product of columns that are ranked, centred and of length 1 is Spearman's correlation.
    runs = [unit_columns(values[:, active_latents(values, None)], ranks=True) for values in as_group(codes)]
    pairs = np.full((len(runs), len(runs)), np.nan)
    for a, b in itertools.combinations(range(len(runs)), 2):
        pairs[a, b] = pairs[b, a] = _agreement(np.abs(runs[a].T @ runs[b]))
    by_run = np.nanmedian(pairs, axis=1)
    return MetricResult({"score": float(by_run.mean())}, {"by_run": by_run, "pairs": pairs})


def _agreement(relation: npt.NDArray[np.float64]) -> float:
    """Return the mean, over rows and columns of [a, b], of the squared largest entry over the sum; 0 if all are zero.

    An empty matrix also gives 0.
    """
    if relation.size == 0:
        return 0.0
    terms = []
    for lines in (relation, relation.T):
        total = lines.sum(axis=1)
        terms.append(lines.max(axis=1) ** 2 / np.where(total > 0, total, 1.0))
    return float(np.concatenate(terms).mean())
