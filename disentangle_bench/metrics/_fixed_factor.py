"""Batches of stored rows in which one factor is held fixed, for the FactorVAE and beta-VAE scores.

The papers draw fresh batches from the generator of the data. Here batches are drawn from the stored rows, grouped by
the factor's value, so that stored codes are enough to score again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.inputs import as_arrays


class FixedFactorRows:
    """Rows of factors [n, k], for drawing with one factor fixed.

    ``usable`` are the factors that can be fixed: those with at least two values, at least one of which occurs twice or
    more. Rows whose value of a factor occurs only once are never drawn for that factor.
    """

    def __init__(self, factors: npt.NDArray[np.int64]) -> None:
        self._grouped = [_Grouped(column) for column in factors.T]
        self.usable = [i for i, grouped in enumerate(self._grouped) if grouped.usable]

    def same_value(self, factor: int, batches: int, size: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw row numbers [batches, size] with replacement; the rows of a batch share the value of a random row."""
        grouped = self._grouped[factor]
        group = grouped.group[rng.choice(grouped.rows, size=batches)]
        position = (rng.random((batches, size)) * grouped.counts[group][:, None]).astype(np.int64)
        return grouped.order[grouped.starts[group][:, None] + position]

    def pairs(
        self, factor: int, batches: int, size: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Draw two arrays of row numbers [batches, size]: pairs of different rows that share the factor's value."""
        grouped = self._grouped[factor]
        first = rng.choice(grouped.rows, size=(batches, size))
        group = grouped.group[first]
        counts, starts = grouped.counts[group], grouped.starts[group]
        step = 1 + (rng.random((batches, size)) * (counts - 1)).astype(np.int64)
        return first, grouped.order[starts + (grouped.place[first] + step) % counts]


class _Grouped:
    """One factor's rows grouped by value: ``order[starts[g] : starts[g] + counts[g]]`` are the rows of group g."""

    def __init__(self, column: npt.NDArray[np.int64]) -> None:
        _, self.group, self.counts = np.unique(column, return_inverse=True, return_counts=True)
        self.order = np.argsort(self.group, kind="stable")
        self.starts = np.cumsum(self.counts) - self.counts
        self.place = np.empty(len(column), dtype=np.int64)
        self.place[self.order] = np.arange(len(column)) - np.repeat(self.starts, self.counts)
        self.rows = np.flatnonzero(self.counts[self.group] > 1)
        self.usable = len(self.counts) > 1 and len(self.rows) > 0


@dataclass(frozen=True)
class Halves:
    """Codes' values [n, d] and factors [n, k] split into training rows and test rows, or all rows as both.

    ``parts`` draw rows of each half, ``usable`` are the factors that both halves can hold fixed, and ``notes`` say what
    is left out of the score or missing.
    """

    train: npt.NDArray[np.float64]
    test: npt.NDArray[np.float64]
    parts: tuple[FixedFactorRows, FixedFactorRows]
    factors: int
    usable: list[int]
    notes: dict[str, str]


def halves(codes: Any, factors: Any, n_train: int | None, metric: str) -> Halves:
    """Return codes and factors split into two halves; raise BenchError as as_arrays and ``usable_factors`` do."""
    arrays = as_arrays(codes, factors, n_train)
    rows = arrays.n_train
    values, labels = arrays.values.astype(np.float64), arrays.factors
    test = slice(rows, None) if rows < len(values) else slice(None)
    parts = FixedFactorRows(labels[:rows]), FixedFactorRows(labels[test])
    usable, notes = usable_factors(parts, labels.shape[1], metric)
    if rows == len(values):
        notes["score"] = "trained and tested on the same rows: there are no test rows"
    return Halves(values[:rows], values[test], parts, labels.shape[1], usable, notes)


def usable_factors(parts: Sequence[FixedFactorRows], factors: int, metric: str) -> tuple[list[int], dict[str, str]]:
    """Return the factors that every part (training rows, test rows) can hold fixed, and a note on those left out.

    Raises BenchError if fewer than two are left: asking which factor was fixed makes sense only if there is a choice.
    """
    usable = [i for i in range(factors) if all(i in part.usable for part in parts)]
    if len(usable) < 2:
        raise BenchError(
            f"{metric} can hold {len(usable)} of {factors} factors fixed; it needs two that have at least two values, "
            "some value at least twice, in the training and in the test rows: give more rows, or leave it out."
        )
    left_out = [str(i) for i in range(factors) if i not in usable]
    notes = {"factors": f"left out, too few rows share a value or constant: {', '.join(left_out)}"} if left_out else {}
    return usable, notes
