"""UDR, the unsupervised disentanglement ranking of runs by their agreement with other seeds (Duan et al. 2020)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.metrics._correlation import correlation
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

    For a pair of runs, R [a, b] is the absolute rank correlation of their active latents. The pair's agreement is the
    mean over both runs' active latents of the squared largest entry of the latent's row (or column) over the row's sum:
    1 if each latent has one perfect partner. A run's UDR is the median of its agreement with the others. The score is
    the mean over runs, the arrays are ``by_run`` [s] and ``pairs`` [s, s] (NaN on the diagonal). A run without an
    active latent agrees with none: 0.

    Active latents stand for the paper's latents of some KL, which stored codes do not have.

    Raises ``BenchError`` for fewer than two runs, other shapes than [n, d] alike, and codes that as_codes rejects.
    Source: Duan et al. 2020; code: google-research/disentanglement_lib on GitHub,
    disentanglement_lib/evaluation/udr/metrics/udr.py.
    """
    runs = [values[:, active_latents(values, None)] for values in as_group(codes)]
    pairs = np.full((len(runs), len(runs)), np.nan)
    for a, b in itertools.combinations(range(len(runs)), 2):
        pairs[a, b] = pairs[b, a] = _agreement(np.abs(correlation(runs[a], runs[b], ranks=True)))
    by_run = np.nanmedian(pairs, axis=1)
    return MetricResult({"score": float(by_run.mean())}, {"by_run": by_run, "pairs": pairs})


def _agreement(relation: npt.NDArray[np.float64]) -> float:
    """Return the mean over rows and columns of [a, b] of squared largest entry over sum; 0 if empty or all zeros."""
    if relation.size == 0:
        return 0.0
    terms = []
    for lines in (relation, relation.T):
        total = lines.sum(axis=1)
        terms.append(lines.max(axis=1) ** 2 / np.where(total > 0, total, 1.0))
    return float(np.concatenate(terms).mean())
