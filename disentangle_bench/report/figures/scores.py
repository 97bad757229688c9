"""Draw figures of many runs: scores, reconstruction against disentanglement, and training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

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
"""The setups (tuples of SETUP) to draw, in this order, with their names."""

RECONSTRUCTION = "mse.mse"
NOT_DISENTANGLEMENT = {"mse", "latents"}
"""Metrics whose scores do not say how disentangled the codes are."""


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """Return a full-width figure of ``count`` panels in rows of up to ``columns``, each ``height`` inches high."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = style.figure(style.WIDTH, rows * height + extra)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, list(axes[:count])


def of(frame: pd.DataFrame, columns: list[str], key: tuple) -> pd.DataFrame:
    """Return the rows that have the values ``key`` in ``columns``."""
    return frame[np.logical_and.reduce([frame[name] == value for name, value in zip(columns, key, strict=True)])]


def panel_title(name: str, row: Any) -> str:
    """Return a panel's title, broken into lines so that it stays above its panel."""
    unit = f" ({row.unit})" if row.unit else ""
    # The no-break space keeps the arrow on the same line as the word before it.
    title = f"{labels.score_title(name)}{unit}\N{NO-BREAK SPACE}{ARROWS[row.direction]}".rstrip()
    return style.label(title, 26, 3)


def error_axis(axis: Axes, which: Literal["x", "y"], row: Any, values: pd.Series) -> None:
    """Make the axis of an error logarithmic if all its values are positive and differ enough."""
    defined = values.dropna()
    if row.direction == "lower" and len(defined) and defined.min() > 0 and defined.max() > 1.5 * defined.min():
        style.logarithmic(axis, which)


def scores_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure:
    """Draw a panel per score, with a row per model: a point per seed, the mean, and its interval as a bar."""
    kinds = labels.score_names(board)
    texts = [style.label(labels.setup_title(name)) for name in setups.values()]
    looks = style.looks(setups)
    lines = sum(max(2, text.count("\n") + 1) for text in texts)
    columns = 4 if len(kinds) == 4 or len(kinds) > 6 else 3
    figure, axes = panels(len(kinds), columns, 0.6 + 0.13 * lines, 0.55)
    for index, (axis, (kind, name)) in enumerate(zip(axes, kinds.items(), strict=True)):
        ours, values = of(board, SCORE, kind), of(scores, SCORE, kind)
        for row, setup in enumerate(setups):
            defined = of(values, SETUP, setup)["value"].dropna().to_numpy()
            _strip(axis, row, defined, of(ours, SETUP, setup), looks[setup].color)
        axis.set_title(panel_title(name, ours.iloc[0]))
        axis.set_ylim(len(setups) - 0.5, -0.5)
        axis.set_yticks(range(len(setups)), texts if index % columns == 0 else [""] * len(setups))
        axis.tick_params(axis="y", length=0)
        axis.grid(visible=False, axis="y")
        axis.locator_params(axis="x", nbins=4)
        error_axis(axis, "x", ours.iloc[0], values["value"])
    figure.suptitle(title)
    figure.supxlabel(
        "points: seeds; bar and tick: 95 % bootstrap interval and mean; dotted: chance level, where it is known",
        fontsize=7,
    )
    return figure


def _strip(axis: Axes, row: int, values: np.ndarray, summary: pd.DataFrame, colour: str) -> None:
    """Draw one model's row: the mean and its bar above, the seeds below, spread out so that each can be seen."""
    if not len(values):
        axis.text(0.5, row, "undefined" if len(summary) else "no score", transform=axis.get_yaxis_transform(),
                  ha="center", va="center", color="0.5", fontsize=6.5)  # fmt: skip
        return
    if math.isfinite(chance := summary.iloc[0].chance):
        axis.plot([chance] * 2, [row - 0.4, row + 0.4], color="0.6", linestyle=":", linewidth=1)
    # One seed is its own mean. The golden ratio spreads several seeds: it looks random but is the same every time.
    below = row + 0.2 + 0.22 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5) if len(values) > 1 else [row]
    size = 10 if len(values) <= 10 else 5
    axis.scatter(values, below, s=size, color=colour, alpha=0.55 if len(values) > 1 else 1, linewidths=0)
    if len(values) == 1:
        return
    statistics = summary.iloc[0]
    axis.plot([statistics.ci_low, statistics.ci_high], [row - 0.18] * 2, color=colour, linewidth=1.8)
    axis.plot(statistics["mean"], row - 0.18, "|", color=colour, markersize=8, markeredgewidth=1.6)


def reconstruction_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure | None:
    """Draw reconstruction error against each disentanglement score: a point per run, and means with their intervals.

    Return None if there is no reconstruction error or no disentanglement score.
    """
    kinds = labels.score_names(board)
    error = next((kind for kind in kinds if kind[1] == RECONSTRUCTION), None)
    kinds = {kind: name for kind, name in kinds.items() if kind[0] not in NOT_DISENTANGLEMENT}
    if error is None or not kinds:
        return None
    figure, axes = panels(len(kinds), 3, 1.9, 0.5 + 0.16 * math.ceil(len(setups) / 4))
    x_values = of(scores, SCORE, error)
    looks = style.looks(setups)
    for axis, (kind, name) in zip(axes, kinds.items(), strict=True):
        y_values = of(scores, SCORE, kind)
        for setup, setup_name in setups.items():
            y = of(y_values, SETUP, setup).set_index("seed")["value"]
            x = of(x_values, SETUP, setup).set_index("seed")["value"].reindex(y.index)
            look: dict[str, Any] = {"color": looks[setup].color, "marker": looks[setup].marker}
            axis.scatter(x, y, s=8, alpha=0.4, linewidths=0, **look)
            _cross(axis, of(of(board, SETUP, setup), SCORE, error), of(of(board, SETUP, setup), SCORE, kind), look)
            axis.plot(
                [], [], linestyle="", markersize=5, label=style.label(labels.setup_title(setup_name), 32, 2), **look
            )
        axis.set_title(panel_title(name, of(board, SCORE, kind).iloc[0]))
        axis.locator_params(nbins=5)
        error_axis(axis, "x", of(board, SCORE, error).iloc[0], x_values["value"])
        error_axis(axis, "y", of(board, SCORE, kind).iloc[0], y_values["value"])
    figure.suptitle(f"{title} (small: seeds; large: mean and 95 % interval)")
    _legend(figure, axes, f"{labels.score_title(labels.score_names(board)[error])} ↓")
    return figure


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


def _legend(figure: Figure, axes: list[Axes], x_label: str) -> None:
    """Add a legend below all panels, and the label of the x axis to the lowest panel of each column."""
    columns = len({round(axis.get_position().x0, 3) for axis in axes})
    for axis in axes[-columns:]:
        axis.set_xlabel(x_label)
    handles, labels = axes[0].get_legend_handles_labels()
    long = max(map(len, labels), default=0) > 18
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if long else 6, handletextpad=0.4)


def profile_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure | None:
    """Draw a panel per score with the share of runs that are at least as good as each value, a line per model.

    Return None if no model has two seeds.
    """
    import seaborn

    board = board[(board["direction"] != "none") & (board["n"] > 0)]
    if not (board["n"] > 1).any():
        return None
    kinds = labels.score_names(board)
    looks = style.looks(setups)
    figure, axes = panels(len(kinds), 4 if len(kinds) == 4 or len(kinds) > 6 else 3, 1.5, 0.5 + 0.16 * len(setups) / 4)
    for axis, (kind, name) in zip(axes, kinds.items(), strict=True):
        row, points = of(board, SCORE, kind).iloc[0], of(scores, SCORE, kind)
        for setup in setups:
            values = of(points, SETUP, setup)["value"].dropna()
            if len(values):
                seaborn.ecdfplot(x=values, complementary=row.direction == "higher", ax=axis, color=looks[setup].color,
                                 linestyle=looks[setup].linestyle, linewidth=1)  # fmt: skip
        axis.set(title=panel_title(name, row), xlabel="", ylabel="")
        axis.locator_params(nbins=4)
        error_axis(axis, "x", row, points["value"])
    for setup, name in setups.items():
        axes[0].plot([], [], label=style.label(labels.setup_title(name), 32, 2), linewidth=1.5,
                     color=looks[setup].color, linestyle=looks[setup].linestyle)  # fmt: skip
    figure.suptitle(f"{title}: share of runs that are at least this good")
    _legend(figure, axes, "score")
    return figure


def training_figure(title: str, histories: Mapping[tuple, list[pd.DataFrame]], setups: Setups) -> Figure | None:
    """Draw a panel per column of ``history.csv``: the mean over seeds and a band from the lowest to the highest seed.

    Columns that most runs have come first. Return None if no run has a history.
    """
    counts: dict[str, int] = {}
    for runs in histories.values():
        for column in {name for run in runs for name in run.columns} - {"step", "learning_rate"}:
            counts[column] = counts.get(column, 0) + 1
    columns = sorted(counts, key=lambda name: (-counts[name], name != "mse", name))[:12]
    if not columns:
        return None
    figure, axes = panels(len(columns), 3, 1.75, 0.5 + 0.16 * math.ceil(len(setups) / 4))
    looks = style.looks(setups)
    for axis, column in zip(axes, columns, strict=True):
        spans = []
        for setup in setups:
            curves = [run.set_index("step")[column] for run in histories.get(setup, []) if column in run]
            if curves:
                spans.append(_band(axis, curves, looks[setup]))
        axis.set_title(style.label(one_line(column), 36, 2))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
        axis.locator_params(axis="x", nbins=4)
        low, high = min(span[0] for span in spans), max(span[1] for span in spans)
        if low > 0 and high > 4 * low:
            style.logarithmic(axis, "y")
    for setup, name in setups.items():
        if histories.get(setup):
            axes[0].plot([], [], label=style.label(labels.setup_title(name), 32, 2), linewidth=1.5,
                         color=looks[setup].color, linestyle=looks[setup].linestyle)  # fmt: skip
    figure.suptitle(f"{title} (line: mean over seeds; band: lowest to highest seed)")
    _legend(figure, axes, "update")
    return figure


def _band(axis: Axes, runs: list[pd.Series], look: style.Look) -> tuple[float, float]:
    """Draw the mean and the range of one model's curves; return the lowest and highest value drawn."""
    import pandas as pd

    table = pd.concat(runs, axis=1).sort_index()
    table = table.iloc[:: max(1, len(table) // 400)].dropna(how="all")
    steps, lowest, highest = table.index.to_numpy(), table.min(axis=1), table.max(axis=1)
    axis.plot(steps, table.mean(axis=1), color=look.color, linestyle=look.linestyle, linewidth=0.9)
    axis.fill_between(steps, lowest, highest, color=look.color, alpha=0.18, linewidth=0)
    return float(lowest.min()), float(highest.max())
