"""Draw figures that compare models with each other and with published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.report import labels, statistics
from disentangle_bench.report.figures import style
from disentangle_bench.report.figures.scores import Setups, of, panel_title, panels
from disentangle_bench.report.labels import COLOURS
from disentangle_bench.report.scores import SCORE, SETUP

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def ranks_figure(title: str, board: pd.DataFrame, means: pd.DataFrame, setups: Setups) -> Figure | None:
    """Draw a panel per score and one for the mean rank, each with the ranked models' ranks and 95 % intervals.

    ``means`` are the mean ranks of this table. Return None if fewer than two models are ranked.
    """
    ranked = board[board["note"] == ""]
    kinds = {kind: name for kind, name in labels.score_names(ranked).items()} if len(ranked) else {}
    ranked_setups = {setup: name for setup, name in setups.items() if len(of(ranked, SETUP, setup))}
    if len(ranked_setups) < 2:
        return None
    contents = [
        (panel_title(name, of(ranked, SCORE, kind).iloc[0]), _ranks(ranked, kind)) for kind, name in kinds.items()
    ]
    if len(means):
        mean = {(row.model, row.model_version, "", row.settings): (row.mean_rank, row.ci_low, row.ci_high)
                for row in labels.rows_of(means)}  # fmt: skip
        contents.insert(0, ("mean rank over scores", mean))
    columns = 4 if len(contents) == 4 or len(contents) > 6 else 3
    texts = [style.label(labels.setup_title(name)) for name in ranked_setups.values()]
    lines = sum(max(2, text.count("\n") + 1) for text in texts)
    figure, axes = panels(len(contents), columns, 0.55 + 0.1 * lines, 0.5)
    looks = style.looks(setups)
    for index, (axis, (head, ranks)) in enumerate(zip(axes, contents, strict=True)):
        for row, setup in enumerate(ranked_setups):
            if setup in ranks:
                rank, low, high = ranks[setup]
                look: dict[str, Any] = {"color": looks[setup].color, "marker": looks[setup].marker}
                axis.errorbar(rank, row, xerr=[[rank - low], [high - rank]], markersize=4.5, elinewidth=1.6, **look)
        axis.set_title(head)
        axis.set_xlim(0.5, len(ranked_setups) + 0.5)
        axis.set_xticks(sorted({1, *range(1, len(ranked_setups) + 1, math.ceil(len(ranked_setups) / 8))}))
        axis.set_ylim(len(ranked_setups) - 0.5, -0.5)
        axis.set_yticks(range(len(ranked_setups)), texts if index % columns == 0 else [""] * len(ranked_setups))
        axis.tick_params(axis="y", length=0)
        axis.grid(visible=False, axis="y")
    figure.suptitle(title)
    figure.supxlabel("rank, 1 the best; bar: 95 % bootstrap interval over seeds", fontsize=7)
    return figure


def _ranks(ranked: pd.DataFrame, kind: tuple) -> dict[tuple, tuple[float, float, float]]:
    rows = of(ranked, SCORE, kind)
    return {tuple(getattr(row, name) for name in SETUP): (row.rank, row.rank_low, row.rank_high)
            for row in labels.rows_of(rows)}  # fmt: skip


def improvement_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure | None:
    """Draw a matrix per score: the probability that a run of the row's model is better than one of the column's.

    Return None if fewer than two models have at least three seeds, or if no score is a contest.
    """
    board = board[(board["direction"] != "none") & (board["n"] >= statistics.FEWEST)]
    kinds = labels.score_names(board) if len(board) else {}
    setups = {setup: name for setup, name in setups.items() if len(of(board, SETUP, setup))}
    if len(setups) < 2 or not kinds:
        return None
    m = len(setups)
    columns = 3 if len(kinds) > 2 else 2
    figure, axes = panels(len(kinds), columns, 1.15 + 0.13 * m, 0.6)
    texts = [style.label(labels.setup_title(name), 28, 1) for name in setups.values()]
    for index, (axis, (kind, name)) in enumerate(zip(axes, kinds.items(), strict=True)):
        rows = of(scores, SCORE, kind)
        values = [of(rows, SETUP, setup)["value"].dropna().to_numpy() for setup in setups]
        higher = of(board, SCORE, kind)["direction"].iloc[0] == "higher"
        matrix = np.array([[statistics.probability_of_improvement(x, y, higher) for y in values] for x in values])
        np.fill_diagonal(matrix, np.nan)
        # Colour-blind readers can tell orange from purple, and white means "no difference".
        image = style.heat(axis, matrix, m <= WRITTEN, cmap="PuOr", vmin=-0.15, vmax=1.15)
        axis.set_title(panel_title(name, of(board, SCORE, kind).iloc[0]))
        last = index + columns >= len(kinds)
        style.ticks(axis, texts if index % columns == 0 else [""] * m, texts if last else [""] * m)
        axis.tick_params(axis="x", rotation=90)
    figure.suptitle(title)
    meaning = "P(a run of the row's model is better than one of the column's)"
    if m <= WRITTEN:
        figure.supxlabel(meaning, fontsize=7)
    else:
        bar = figure.colorbar(
            image, ax=list(axes), location="bottom", pad=0.01, fraction=0.01, aspect=80, ticks=[0, 0.25, 0.5, 0.75, 1]
        )
        bar.ax.set_xlim(0, 1)
        bar.ax.tick_params(labelsize=6)
        bar.outline.set_visible(False)
        bar.set_label(meaning, fontsize=7)
    return figure


WRITTEN = 8
"""Largest number of models whose matrix has a number in each cell; a larger matrix has a colour bar instead."""


def agreement_figure(title: str, board: pd.DataFrame, scores: pd.DataFrame, setups: Setups) -> Figure | None:
    """Draw Spearman's rank correlation of each pair of scores over all runs, to show which metrics order runs alike.

    The sign of errors is flipped, so that 1 means "the same runs are good". Return None if there are fewer than four
    runs or fewer than two scores that vary.
    """
    kinds = labels.score_names(board[board["direction"] != "none"])
    columns = {}
    for kind, name in kinds.items():
        rows = of(scores, SCORE, kind)
        sign = 1 if of(board, SCORE, kind)["direction"].iloc[0] == "higher" else -1
        values = rows.set_index([*SETUP, "seed"])["value"] * sign
        if values.nunique() > 1:
            columns[labels.score_title(name)] = values[~values.index.duplicated()]
    if len(columns) < 2:
        return None
    import pandas as pd

    table = pd.DataFrame(columns)
    if len(table.dropna()) < 4:
        return None
    m = len(columns)
    figure = style.figure(min(2.6 + 0.42 * m, 11), 1.5 + 0.3 * m)
    axis = figure.subplots()
    style.heat(axis, table.corr("spearman", min_periods=4), m <= 20, cmap="PuOr", vmin=-1.2, vmax=1.2)
    texts = [style.label(name, 26, 2) for name in columns]
    style.ticks(axis, texts, texts)
    axis.tick_params(axis="x", rotation=90)
    figure.suptitle(f"{title}: rank correlation of scores over {len(table)} runs")
    return figure


def published_figure(title: str, comparison: pd.DataFrame) -> Figure | None:
    """Draw a panel per score with a row per model: our mean and interval, and each published mean with its spread.

    ``comparison`` holds the rows of one dataset and protocol. Hollow marks are second-hand numbers. Return None if
    ``comparison`` is empty.
    """
    if comparison.empty:
        return None
    kinds = list(dict.fromkeys(comparison["score"]))
    models = sorted(
        set(comparison["model"]),
        key=lambda model: (not (comparison["n"][comparison["model"] == model] > 0).any(), model),
    )
    columns = 4 if len(kinds) == 4 or len(kinds) > 6 else 3
    figure, axes = panels(len(kinds), columns, 0.6 + 0.26 * len(models), 0.8)
    for index, (axis, kind) in enumerate(zip(axes, kinds, strict=True)):
        rows = comparison[comparison["score"] == kind]
        for level, model in enumerate(models):
            _beside(axis, level, list(labels.rows_of(rows[rows["model"] == model])))
        axis.set_title(style.label(labels.score_title(kind), 26, 2))
        axis.set_ylim(len(models) - 0.5, -0.5)
        axis.set_yticks(
            range(len(models)), map(labels.model_title, models) if index % columns == 0 else [""] * len(models)
        )
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=4)
    for label, look in _LOOKS.items():
        axes[0].plot([], [], linestyle="", label=label, **look)
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3)
    figure.suptitle(f"{title}: ours and published (protocols differ; whiskers: our 95 % interval, their spread)")
    return figure


_LOOKS: Mapping[str, dict[str, Any]] = {
    "ours": {"color": COLOURS[0], "marker": "o", "markersize": 4.5},
    "published": {"color": COLOURS[1], "marker": "D", "markersize": 4},
    "published, second-hand": {"color": COLOURS[1], "marker": "D", "markersize": 4, "markerfacecolor": "white"},
}


def _beside(axis: Axes, level: int, rows: Sequence[Any]) -> None:
    """Draw one model's row: our numbers above, the published numbers below."""
    ours = {(row.variant, row.metric_version, row.settings): row for row in rows if row.n}
    for row in ours.values():
        interval = [[row.mean - row.ci_low], [row.ci_high - row.mean]]
        axis.errorbar(row.mean, level - 0.22, xerr=interval, elinewidth=1.6, linestyle="", **_LOOKS["ours"])
    theirs = {(row.citation, row.published_mean): row for row in rows}
    for index, row in enumerate(theirs.values()):
        look = _LOOKS["published, second-hand" if row.second_hand else "published"]
        std = None if math.isnan(row.published_std) else row.published_std
        axis.errorbar(row.published_mean, level + 0.02 + 0.36 * (index + 0.5) / len(theirs), xerr=std, elinewidth=0.8,
                      linestyle="", **look)  # fmt: skip
