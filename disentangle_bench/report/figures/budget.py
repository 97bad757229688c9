"""Draw what a search found against its budget: the expected best of the default and n - 1 drawn points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from disentangle_bench.report import labels
from disentangle_bench.report.figures import style
from disentangle_bench.report.figures.scores import error_axis, of, panel_title, panels
from disentangle_bench.report.scores import SCORE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.spec import RunSpec
    from disentangle_bench.store.runs import Record

Floats = npt.NDArray[np.float64]
RESAMPLES = 1_000


def expected_best(default: float, drawn: npt.ArrayLike, higher_is_better: bool) -> Floats:
    """Return the expected best score for each budget n = 1 .. len(drawn) + 1.

    It is the mean, over all choices of n - 1 drawn points, of the best score among those points and the default.
    """
    sign = 1.0 if higher_is_better else -1.0
    best = np.sort(np.maximum(sign * np.asarray(drawn, dtype=float), sign * default))
    m = len(best)
    # The k-th smallest, from 0, is the best of n in comb(k, n - 1) of the choices.
    shares = [[math.comb(k, n - 1) / math.comb(m, n) for k in range(m)] for n in range(1, m + 1)]
    return sign * np.concatenate([[sign * default], np.array(shares).reshape(m, m) @ best])


def budget_figure(
    title: str, board: pd.DataFrame, scores: pd.DataFrame, records: Mapping[str, Record]
) -> Figure | None:
    """Draw a panel per score, with a curve per model and its 95 % bootstrap interval over the drawn points.

    An adaptive search has only one order of points: its curve is the best so far. Return None if there is no search.
    """
    specs = {name: record.spec for name, record in records.items() if record.spec.search}
    points = scores[scores["run_id"].isin(list(specs)) & ~scores["descriptive"]].dropna(subset=["value"])
    if points.empty:
        return None
    groups = {name: _group(spec) for name, spec in specs.items()}
    points = points.assign(
        group=points["run_id"].map(groups), point=points["run_id"].map({name: _point(s) for name, s in specs.items()})
    )
    looks = style.looks(sorted(set(groups.values())))
    kinds = labels.score_names(points)
    figure, axes = panels(len(kinds), 4 if len(kinds) == 4 or len(kinds) > 6 else 3, 1.7, 0.7)
    for axis, (kind, name) in zip(axes, kinds.items(), strict=True):
        rows, row = of(points, SCORE, kind), of(board, SCORE, kind).iloc[0]
        for group in looks:
            own = rows[[one == group for one in rows["group"]]]
            means = own.groupby("point")["value"].mean().sort_index()  # over seeds
            curve = _curve(means, row.direction == "higher", adaptive=group[3] == "tpe")
            if curve is None:
                continue
            n = np.arange(1, len(curve[0]) + 1)
            color = looks[group].color
            axis.fill_between(n, curve[1], curve[2], color=color, alpha=0.12, linewidth=0)
            axis.plot(n, curve[0], color=color, marker=looks[group].marker, markersize=3, linewidth=1,
                      label=labels.setup_title(f"{group[0]} {group[2]}".strip()))  # fmt: skip
        axis.set_title(panel_title(name, row))
        axis.locator_params(axis="x", integer=True, nbins=5)
        error_axis(axis, "y", row, rows["value"])
    handles, texts = axes[0].get_legend_handles_labels()
    meaning = "points tried, the default first; expected best on validation images and its 95 % interval"
    # The title of the legend and not the label of the figure, which matplotlib would write over the legend.
    figure.legend(handles, texts, loc="outside lower center", ncols=4, title=meaning, title_fontsize=7)
    figure.suptitle(title)
    return figure


def _group(spec: RunSpec) -> tuple[str, int, str, str]:
    """Return what the points of one curve share: model, its version, changes of its training, and the sampler."""
    assert spec.search
    changes = " ".join(change for change in spec.changed if change.startswith("training."))
    return spec.model, spec.model_version, changes, spec.search.sampler


def _point(spec: RunSpec) -> tuple[int, int]:
    """Return the sort key of a point among all, the default first; searches with several seeds are joined."""
    assert spec.search
    return (spec.search.seed, spec.search.point) if spec.search.point else (-1, 0)


def _curve(means: pd.Series, higher: bool, adaptive: bool) -> tuple[Floats, Floats, Floats] | None:
    """Return the expected best by budget and its interval's ends; None without the default or without other points."""
    if (-1, 0) not in means.index or len(means) < 2:
        return None
    values = means.to_numpy(dtype=float)
    if adaptive:
        best = np.maximum.accumulate(values) if higher else np.minimum.accumulate(values)
        return best, best, best
    default, drawn = values[0], values[1:]
    resampled = np.random.default_rng(0).choice(drawn, (RESAMPLES, len(drawn)))
    curves = np.stack([expected_best(default, one, higher) for one in resampled])
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return expected_best(default, drawn, higher), low, high
