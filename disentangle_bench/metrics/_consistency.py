"""Consistency across seeds: agreement of runs' codes up to a permutation, a rotation or a linear map."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.metrics._correlation import best_matching
from disentangle_bench.metrics.inputs import as_group
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

CARD = MetricCard(
    name="consistency",
    version=1,
    paper="ICLR 2026, OpenReview Wa3cfE3Iay (package ituna); the maps with one common scale are this package's choice",
    summary="R2 of the best map from the codes of one seed to those of another, mean over pairs of seeds; no factors",
    scores=(
        ScoreCard("permutation", True, "the map permutes latents and flips signs"),
        ScoreCard("rigid", True, "the map rotates and reflects"),
        ScoreCard("linear", True, "the map is linear"),
    ),
    variants={"common_scale": "permutations and rotations times one number; values of all rows, centred"},
)


def consistency(codes: Sequence[Any]) -> MetricResult:
    """Return the consistency of several runs' ``codes``, each [n, d], of the same n images.

    For each pair of runs, the codes are centred and the best map of each kind is fitted from one run to the other: a
    signed permutation times one number, an orthogonal matrix times one number, and any matrix. A score is the mean over
    pairs of the map's R2, in [0, 1]; each kind of map includes the one before, so scores rise in this order. The arrays
    ``permutation``, ``rigid`` and ``linear`` [s, s] hold the R2 of maps from the row's run to the column's. Nothing
    explains codes that do not vary: their R2 is 0.

    Raises ``BenchError`` for fewer than two runs, shapes that are not the same [n, d], and codes that as_codes rejects.
    Source: ICLR 2026, OpenReview Wa3cfE3Iay (package ituna); that a map has one common scale is this package's choice.
    """
    runs = [_centred(run) for run in as_group(codes)]
    bases = [_basis(run) for run in runs]
    matrices = {card.name: np.eye(len(runs)) for card in CARD.scores}
    for a, b in itertools.combinations(range(len(runs)), 2):
        cross = runs[a].T @ runs[b]
        matrices["permutation"][[a, b], [b, a]] = np.abs(cross)[best_matching(np.abs(cross))].sum() ** 2
        matrices["rigid"][[a, b], [b, a]] = np.linalg.svd(cross, compute_uv=False).sum() ** 2
        matrices["linear"][a, b] = ((bases[a].T @ runs[b]) ** 2).sum()
        matrices["linear"][b, a] = ((bases[b].T @ runs[a]) ** 2).sum()
    pairs = ~np.eye(len(runs), dtype=bool)
    constant = [str(number) for number, run in enumerate(runs) if not run.any()]
    notes = {"codes": f"0 with run {', '.join(constant)}: its codes do not vary"} if constant else {}
    return MetricResult({name: float(matrix[pairs].mean()) for name, matrix in matrices.items()}, matrices, notes)


def _centred(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return codes [n, d] centred and scaled together so that their squares sum to 1; zeros if they do not vary."""
    numbers = np.asarray(values, dtype=np.float64)
    varied = (numbers != numbers[:1]).any(axis=0)
    largest = np.abs(numbers).max()
    numbers = numbers / (largest if largest > 0 else 1.0)  # squares of tiny numbers would vanish
    centred = np.where(varied, numbers - numbers.mean(axis=0), 0.0)
    length = np.sqrt((centred**2).sum())
    return np.asarray(centred / length if length > 0 else centred)


def _basis(run: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return orthonormal columns [n, r] that span those of a run, none if it does not vary.

    The share of another run that the best linear map explains is the sum of that run's squared products with them.
    """
    if not run.any():
        return run[:, :0]
    left, singular, _ = np.linalg.svd(run, full_matrices=False)
    return left[:, singular > singular[0] * len(run) * np.finfo(np.float64).eps]
