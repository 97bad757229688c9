"""Figures of many runs: scores, reconstruction against disentanglement, and training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.errors import one_line
from disentangle_bench.report import labels
from disentangle_bench.report.figures import style
from disentangle_bench.report.scores import SCORE, SETUP
from disentangle_bench.report.tables.sheet import ARROWS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Setups = Mapping[tuple, str]
"""What is drawn, in this order: setups (tuples of SETUP) and their names."""

RECONSTRUCTION = "mse.mse"
NOT_DISENTANGLEMENT = {"mse", "latents"}
"""Metrics whose scores do not say how disentangled the codes are."""


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """A full-width figure of ``count`` panels in rows of up to ``columns``, each ``height`` inches high."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    made = style.figure(style.WIDTH, rows * height + extra)
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return made, list(axes[:count])


def of(frame: pd.DataFrame, columns: list[str], key: tuple) -> pd.DataFrame:
    """The rows that have the values ``key`` in ``columns``."""
    return frame[(frame[columns] == list(key)).all(axis=1)]


def panel_title(name: str, row: Any) -> str:
    """A panel's title; a long one is broken after the metric's name so that it stays above its panel."""
    title = f"{name}{f' ({row.unit})' if row.unit else ''} {ARROWS[row.direction]}".rstrip()
    if len(title) <= 24:
        return title
    metric, _, score = title.partition(".")
    return f"{style.label(metric, 22, 1)}.\n{style.label(score, 24, 2)}"


def scores_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure:
    """A panel per score; in each, a row per model with a point per seed, the mean, and its interval as a bar."""
    kinds = labels.score_names(board)
    texts = [style.label(name) for name in setups.values()]
    lines = sum(max(2, text.count("\n") + 1) for text in texts)
    columns = 4 if len(kinds) == 4 or len(kinds) > 6 else 3
    made, axes = panels(len(kinds), columns, 0.6 + 0.13 * lines, 0.55)
    for place, (axis, (kind, name)) in enumerate(zip(axes, kinds.items(), strict=True)):
        ours, values = of(board, SCORE, kind), of(scores, SCORE, kind)
        for row, setup in enumerate(setups):
            _strip(axis, row, of(values, SETUP, setup)["value"].dropna().to_numpy(), of(ours, SETUP, setup))
        axis.set_title(panel_title(name, ours.iloc[0]))
        axis.set_ylim(len(setups) - 0.5, -0.5)
        axis.set_yticks(range(len(setups)), texts if place % columns == 0 else [""] * len(setups))
        axis.tick_params(axis="y", length=0)
        axis.grid(visible=False, axis="y")
        axis.locator_params(axis="x", nbins=4)
    made.suptitle(title)
    made.supxlabel("points: seeds; bar and tick: 95 % bootstrap interval and mean", fontsize=7)
    return made


def _strip(axis: Axes, row: int, values: np.ndarray, summary: pd.DataFrame) -> None:
    """One model's row: the mean and its bar above, the seeds below, spread so that they can be told apart."""
    if not len(values):
        axis.text(0.5, row, "undefined" if len(summary) else "no score", transform=axis.get_yaxis_transform(),
                  ha="center", va="center", color="0.5", fontsize=6.5)  # fmt: skip
        return
    # One seed is its own mean. Several are spread by the golden ratio, which looks random and is the same every time.
    below = row + 0.2 + 0.22 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5) if len(values) > 1 else [row]
    size = 10 if len(values) <= 10 else 5
    axis.scatter(values, below, s=size, color=style.colour(row), alpha=0.55 if len(values) > 1 else 1, linewidths=0)
    if len(values) == 1:
        return
    found = summary.iloc[0]
    axis.plot([found.ci_low, found.ci_high], [row - 0.18] * 2, color=style.colour(row), linewidth=1.8)
    axis.plot(found["mean"], row - 0.18, "|", color=style.colour(row), markersize=8, markeredgewidth=1.6)


def reconstruction_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure | None:
    """Reconstruction error against each disentanglement score, a point per run and the means with their intervals.

    None if one of the two is missing.
    """
    kinds = labels.score_names(board)
    error = next((kind for kind in kinds if kind[1] == RECONSTRUCTION), None)
    kinds = {kind: name for kind, name in kinds.items() if kind[0] not in NOT_DISENTANGLEMENT}
    if error is None or not kinds:
        return None
    made, axes = panels(len(kinds), 3, 1.9, 0.5 + 0.16 * math.ceil(len(setups) / 4))
    x_values = of(scores, SCORE, error)
    for axis, (kind, name) in zip(axes, kinds.items(), strict=True):
        y_values = of(scores, SCORE, kind)
        for place, (setup, setup_name) in enumerate(setups.items()):
            y = of(y_values, SETUP, setup).set_index("seed")["value"]
            x = of(x_values, SETUP, setup).set_index("seed")["value"].reindex(y.index)
            look: dict[str, Any] = {"color": style.colour(place), "marker": style.marker(place)}
            axis.scatter(x, y, s=8, alpha=0.4, linewidths=0, **look)
            _cross(axis, of(of(board, SETUP, setup), SCORE, error), of(of(board, SETUP, setup), SCORE, kind), look)
            axis.plot([], [], linestyle="", markersize=5, label=style.label(setup_name, 32, 2), **look)
        axis.set_title(panel_title(name, of(board, SCORE, kind).iloc[0]))
        axis.locator_params(nbins=5)
    made.suptitle(f"{title} (small: seeds; large: mean and 95 % interval)")
    _legend(made, axes, f"{labels.score_names(board)[error]} ↓")
    return made


def _cross(axis: Axes, x: pd.DataFrame, y: pd.DataFrame, look: dict[str, Any]) -> None:
    if not len(x) or not len(y):
        return
    across, up = x.iloc[0], y.iloc[0]
    axis.errorbar(
        across["mean"],
        up["mean"],
        xerr=[[across["mean"] - across.ci_low], [across.ci_high - across["mean"]]],
        yerr=[[up["mean"] - up.ci_low], [up.ci_high - up["mean"]]],
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        elinewidth=1,
        **look,
    )


def _legend(made: Figure, axes: list[Axes], x_label: str) -> None:
    """A legend below all panels, and the label of x on the lowest panel of each column."""
    columns = len({round(axis.get_position().x0, 3) for axis in axes})
    for axis in axes[-columns:]:
        axis.set_xlabel(x_label)
    handles, labels = axes[0].get_legend_handles_labels()
    long = max(map(len, labels), default=0) > 18
    made.legend(handles, labels, loc="outside lower center", ncols=3 if long else 6, handletextpad=0.4)


def training_figure(title: str, histories: Mapping[tuple, list[pd.DataFrame]], setups: Setups) -> Figure | None:
    """A panel per column of ``history.csv``: the mean over seeds and a band from the lowest to the highest seed.

    Columns that most models have come first. None if no run has a history.
    """
    counts: dict[str, int] = {}
    for runs in histories.values():
        for column in {name for run in runs for name in run.columns} - {"step", "learning_rate"}:
            counts[column] = counts.get(column, 0) + 1
    columns = sorted(counts, key=lambda name: (-counts[name], name != "mse", name))[:12]
    if not columns:
        return None
    made, axes = panels(len(columns), 3, 1.75, 0.5 + 0.16 * math.ceil(len(setups) / 4))
    for axis, column in zip(axes, columns, strict=True):
        positive = True
        for place, setup in enumerate(setups):
            curves: list[pd.Series] = [
                run.set_index("step")[column] for run in histories.get(setup, []) if column in run
            ]
            if curves:
                positive &= _band(axis, curves, {"color": style.colour(place), "linestyle": style.line(place)})
        axis.set_title(style.label(one_line(column), 36, 2))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
        axis.locator_params(axis="x", nbins=4)
        if positive:
            _logarithmic(axis)
    for place, (setup, name) in enumerate(setups.items()):
        look: dict[str, Any] = {"color": style.colour(place), "linestyle": style.line(place)}
        if histories.get(setup):
            axes[0].plot([], [], label=style.label(name, 32, 2), linewidth=1.5, **look)
    made.suptitle(f"{title} (line: mean over seeds; band: lowest to highest seed)")
    _legend(made, axes, "update")
    return made


def _logarithmic(axis: Axes) -> None:
    """A logarithmic y axis whose labels are plain numbers: the style reads no mathematics in texts."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 1000 else (1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _band(axis: Axes, runs: list[pd.Series], look: dict[str, Any]) -> bool:
    """Draw one model's curve; gives whether all of it is positive and spans more than a factor of 20."""
    import pandas as pd

    table = pd.concat(runs, axis=1).sort_index()
    table = table.iloc[:: max(1, len(table) // 400)]
    steps, low, high = table.index.to_numpy(), table.min(axis=1), table.max(axis=1)
    axis.fill_between(steps, low, high, color=look["color"], alpha=0.18, linewidth=0)
    axis.plot(steps, table.mean(axis=1), linewidth=0.9, **look)
    lowest = low.min()
    return bool(lowest > 0 and high.max() / lowest > 20)
