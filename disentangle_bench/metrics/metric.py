"""The contract of a metric: its card and its result.

A metric is a module with ``CARD``, a function ``score(evaluation, *, variant, rng) -> MetricResult``, where ``variant``
is one of the card's, and a public function of arrays that ``score`` calls.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ScoreCard:
    """One number of a metric: its ``name`` without the metric's, its direction, and a one-line ``summary``.

    ``higher_is_better`` says which direction is good, and ``unit`` is empty for a number without a unit. ``ranked`` is
    False for a number that only describes the codes: models are not ranked by it. ``variants`` names the metric's
    variants that have this score; empty means all of them.
    """

    name: str
    higher_is_better: bool
    summary: str
    unit: str = ""
    ranked: bool = True
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricCard:
    """Facts about a metric. A change to its numbers bumps ``version`` and gets a line in the CHANGELOG.

    ``name`` is what commands take, ``paper`` the source of the definition, ``summary`` one line of text, and ``scores``
    are cards of the numbers that the metric computes. ``variants`` maps each variant's name to one line on its choices;
    the first is the default. ``permutations`` is how often the metric is computed on permuted codes to find its chance
    level: 0 if scores do not depend on factors, 1 if the metric is slow. ``needs_factors`` is False for a metric of
    codes or images alone, which is computed even if a dataset has no factors. ``variant_versions`` are the versions of
    variants whose numbers changed when the others' did not. A score is identified by metric, score, variant and version
    together; scores that differ in any of these are never mixed.
    """

    name: str
    version: int
    paper: str
    summary: str
    scores: tuple[ScoreCard, ...]
    variants: dict[str, str]
    permutations: int = 3
    variant_versions: dict[str, int] = field(default_factory=dict)
    needs_factors: bool = True

    @property
    def default_variant(self) -> str:
        """Name of the variant to use when none is given."""
        return next(iter(self.variants))

    def version_of(self, variant: str) -> int:
        """Return the version of the numbers of ``variant``."""
        return self.variant_versions.get(variant, self.version)

    def scores_of(self, variant: str) -> tuple[ScoreCard, ...]:
        """Return the cards of the scores that ``variant`` has, each name once."""
        return tuple(score for score in self.scores if not score.variants or variant in score.variants)


@dataclass(frozen=True, repr=False)
class MetricResult:
    """Result of a metric: ``scores`` by name, the ``arrays`` behind them, and ``notes`` on how they were computed.

    Scores and arrays are also attributes and keys: ``result.modularity``, ``result["nmi"]``. A score that is not
    defined for these codes is NaN, and ``notes`` (by score) says why. ``latent_names`` (d) and ``factor_names`` (k) are
    the column names of the DataFrames that were given, or empty.
    """

    scores: dict[str, float]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    latent_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        """Return the score or array called ``name``."""
        if name in self.scores:
            return self.scores[name]
        if name in self.arrays:
            return self.arrays[name]
        raise KeyError(f"{name!r} is not in this result; it has {', '.join(self)}")

    def __getattr__(self, name: str) -> Any:
        """Return the score or array called ``name``."""
        if name.startswith("__") or name in self.__dataclass_fields__:  # a copy being made has no scores yet
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the scores, then of the arrays."""
        yield from self.scores
        yield from self.arrays

    def __dir__(self) -> list[str]:
        """Return names for completion in a notebook."""
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        """Return the scores, the arrays' shapes and the notes, a line each."""
        width = max(map(len, self), default=0)
        lines = [f"  {name:{width}}  {text}" for name, text in self._rows()]
        return "\n".join(["MetricResult", *lines, *(f"  note on {name}: {text}" for name, text in self.notes.items())])

    def _repr_html_(self) -> str:
        """Return what ``repr`` shows as an HTML table, for notebooks."""
        rows = [*self._rows(), *((f"note on {name}", text) for name, text in self.notes.items())]
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
        return f"<table>{cells}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        scores = [(name, f"{value:.4g}") for name, value in self.scores.items()]
        return [*scores, *((name, f"array {list(array.shape)}") for name, array in self.arrays.items())]


def mean_over_factors(by_factor: npt.NDArray[np.float64], notes: dict[str, str]) -> float:
    """Return the mean of [k] without the factors that are NaN, which are named in ``notes``; NaN if all are."""
    constant = np.flatnonzero(np.isnan(by_factor))
    if len(constant):
        notes["factors"] = f"left out, constant over the training rows: {', '.join(map(str, constant))}"
    return float(np.nanmean(by_factor)) if len(constant) < len(by_factor) else float("nan")
