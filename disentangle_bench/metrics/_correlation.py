"""Correlations between columns (0 for a constant column), and the best one-to-one matching of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def unit_columns(columns: npt.NDArray[Any], *, ranks: bool = False) -> npt.NDArray[np.float64]:
    """Return columns [n, c], or their ranks (ties share the mean rank), centred and scaled to length 1.

    A constant column becomes exactly zero, however its mean is rounded.
    """
    numbers = np.asarray(columns, dtype=np.float64)
    varied = (numbers != numbers[:1]).any(axis=0)
    if ranks:
        from scipy.stats import rankdata

        numbers = rankdata(numbers, axis=0)
    else:
        numbers = numbers / np.where(varied, np.abs(numbers).max(axis=0), 1.0)  # squares of tiny numbers would vanish
    centred = np.where(varied, numbers - numbers.mean(axis=0), 0.0)
    length = np.sqrt((centred**2).sum(axis=0))
    return np.asarray(centred / np.where(length > 0, length, 1.0))


def correlation(left: npt.NDArray[Any], right: npt.NDArray[Any], *, ranks: bool = False) -> npt.NDArray[np.float64]:
    """Return correlations [a, b] of columns [n, a] and [n, b], Pearson's or (of ranks) Spearman's; 0 for a constant."""
    return unit_columns(left, ranks=ranks).T @ unit_columns(right, ranks=ranks)


def best_matching(weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and columns [min(a, b)] of the one-to-one matching with the largest sum of weights [a, b]."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(weights, maximize=True)
    return rows, columns
