"""Find runs that differ in one setting changed by hand, and draw what that setting does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.data.correlation import strength
from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.registry import dataset_class
from disentangle_bench.report import labels
from disentangle_bench.report.figures import style
from disentangle_bench.report.figures.scores import of, panel_title, panels
from disentangle_bench.report.labels import COLOURS
from disentangle_bench.report.scores import SCORE, SETUP
from disentangle_bench.spec import flat

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.spec import RunSpec
    from disentangle_bench.store.runs import Record


@dataclass(frozen=True)
class Series:
    """Setups of one model (name and version) that differ only in ``key``, in the order of its ``values``.

    ``strengths`` are the total correlations of the training factors, in nats, if those are what differs.
    """

    name: str
    model: tuple
    key: str
    values: tuple[Any, ...]
    setups: tuple[tuple, ...]
    strengths: tuple[float, ...] = ()

    @property
    def positions(self) -> tuple[float, ...]:
        """Positions of the values on the figure's axis: the values themselves if they are numbers."""
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)
        return self.strengths or (self.values if numeric else tuple(range(len(self.values))))


CORRELATION = "data.correlation"


def strengths(values: Mapping[str, tuple], specs: Mapping[tuple, RunSpec]) -> dict[str, float]:
    """Return the total correlation of the training factors for each value of ``data.correlation``, weakest first.

    The result is empty if the dataset cannot be opened here.
    """
    try:
        by_value = {value: strength(value, dataset_class(specs[setup].dataset).card) for value, setup in values.items()}
    except BenchError:
        return {}
    return dict(sorted(by_value.items(), key=lambda row: row[1]))


def varied_settings(records: Mapping[tuple, Sequence[Record]], fewest: int = 2) -> list[Series]:
    """Return all series of at least ``fewest`` values among the setups of one table.

    ``records`` holds the runs of each setup (a tuple of SETUP).

    Setups are comparable if they changed the same keys and agree in the values of all but one. Where only one key was
    changed, the run that follows the protocol joins the series with its own value of that key.
    """
    specs = {setup: runs[0].spec for setup, runs in records.items()}
    groups: dict[tuple, list[tuple]] = {}
    for setup, spec in specs.items():
        if spec.changed:
            keys = sorted(mark.partition("=")[0] for mark in spec.changed)  # "model.gamma=1", or the key alone
            groups.setdefault((setup[0], setup[1], tuple(keys)), []).append(setup)
    series = []
    for (model, version, keys), setups in sorted(groups.items()):
        tables = {setup: flat(specs[setup]) for setup in setups}
        if len(keys) == 1:
            plain = [setup for setup, spec in specs.items() if setup[:2] == (model, version) and not spec.changed]
            tables |= {setup: flat(specs[setup]) for setup in plain[:1]}
        for key in keys:
            others = [one for one in keys if one != key]
            fixed: dict[tuple, dict[Any, tuple]] = {}
            for setup, values in tables.items():
                if key in values:
                    rest = tuple(repr(values.get(one)) for one in others)
                    # If a run sets the protocol's own value by hand, the run that follows the protocol replaces it.
                    if values[key] not in fixed.setdefault(rest, {}) or not setup[2]:
                        fixed[rest][values[key]] = setup
            for rest, by_value in sorted(fixed.items()):
                if len(by_value) >= fewest:
                    order = sorted(by_value, key=lambda value: (isinstance(value, str), value))
                    by_strength = strengths(by_value, specs) if key == CORRELATION else {}
                    order = list(by_strength) or order
                    beside = ", ".join(f"{one}={value}" for one, value in zip(others, rest, strict=True))
                    name = one_line(f"{model} ({beside})" if beside else model)
                    series.append(
                        Series(
                            name,
                            (model, version),
                            one_line(key),
                            tuple(order),
                            tuple(by_value[v] for v in order),
                            tuple(by_strength.values()),
                        )
                    )
    return series


def settings_figure(title: str, series: Series, board: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw a panel per score: every seed, the mean and the 95 % interval against the values of one setting."""
    kinds = labels.score_names(of(board, ["model", "model_version"], series.model))
    figure, axes = panels(len(kinds), 4 if len(kinds) > 6 else 3, 1.6, 0.55)
    positions = np.array(series.positions, dtype=float)
    wide = bool(positions.min() > 0 and positions.max() / positions.min() >= 10)
    for axis, (kind, name) in zip(axes, kinds.items(), strict=True):
        rows, points = of(board, SCORE, kind), of(scores, SCORE, kind)
        summaries = [of(rows, SETUP, setup) for setup in series.setups]
        for position, setup in zip(positions, series.setups, strict=True):
            values = of(points, SETUP, setup)["value"].dropna()
            axis.scatter(np.full(len(values), position), values, s=9, color=COLOURS[0], alpha=0.45, linewidths=0)
        curve = [
            (position, row.iloc[0])
            for position, row in zip(positions, summaries, strict=True)
            if len(row) and row.iloc[0].n
        ]
        if curve:
            x = [position for position, _ in curve]
            axis.fill_between(x, [row.ci_low for _, row in curve], [row.ci_high for _, row in curve],
                              color=COLOURS[0], alpha=0.15, linewidth=0)  # fmt: skip
            axis.plot(x, [row["mean"] for _, row in curve], color=COLOURS[0], marker="o", markersize=3.5, linewidth=1)
        if wide:
            axis.set_xscale("log")
        axis.minorticks_off()
        if len(positions) <= 6 and not series.strengths:
            axis.set_xticks(positions, [style.label(str(value), 12, 1) for value in series.values])
        axis.locator_params(axis="y", nbins=5)
        axis.set_title(panel_title(name, rows.iloc[0]))
    figure.suptitle(f"{title}: {series.name}")
    key = f"{series.key}: total correlation of the factors, nats" if series.strengths else series.key
    figure.supxlabel(f"{key} (points: seeds; band: 95 % interval; off the protocol but for the baseline)", fontsize=7)
    return figure
