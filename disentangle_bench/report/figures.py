"""All figures of a report: which are drawn, from which runs, into which files."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.report import comparisons, names, panels, plots, style, varied
from disentangle_bench.report.animation import save_gif, traversal_frames
from disentangle_bench.report.scores import SETUP, TABLE, one_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.report.report import Results
    from disentangle_bench.store.runs import Record

MOST_SETUPS = 24
"""Setups in a figure; those by the protocol come first."""

TABLE_FIGURES = ("scores", "reconstruction", "ranks", "improvement", "settings", "published", "training")
"""File names of the figures that show all models of a dataset; the others show one run."""

Drawing = Callable[[], "Figure | list[Any] | None"]
"""Gives a figure, or the frames of an animation."""
Missing = dict[str, list[str]]
"""Companion files, and the runs that lack them."""

_BROKEN = (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile)
"""What a damaged, foreign or missing companion file raises. It costs its figure, not the report."""


@dataclass(frozen=True)
class Table:
    """All that the figures of one table of the leaderboard are made from; it can be sent to another process."""

    title: str
    folder: Path
    board: pd.DataFrame
    scores: pd.DataFrame
    means: pd.DataFrame
    comparison: pd.DataFrame
    records: dict[str, Record]


def write_figures(
    results: Results, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[list[Path], list[str]]:
    """Draw everything below ``folder``, a folder per dataset and protocol; large reports on several cores.

    Gives the files written (PNG and PDF of each figure, GIF of animations) and remarks on what could not be drawn.
    """
    from disentangle_bench.report import drawing

    by_name = {record.folder.name: record for record in results.records}
    parts = dict(names.tables(results.scores))
    tables = [
        Table(
            title,
            folder / folder_name(title, rows),
            rows,
            parts[title],
            _of_table(results.means, rows),
            _of_table(results.comparison, rows),
            {name: by_name[name] for name in parts[title]["run_id"].unique()},
        )
        for title, rows in names.tables(results.board)
    ]
    made = drawing.draw(tables, say)
    return [path for paths, _ in made for path in paths], [one_line(note) for _, notes in made for note in notes]


def draw_table(table: Table) -> tuple[list[Path], list[str]]:
    """Draw the figures of one table; files and remarks as for ``write_figures``."""
    title, paths, notes = table.title, list[Path](), list[str]()
    missing: Missing = {}
    setups, left_out = _setups(table.board)
    if left_out:
        notes.append(f"{title}: {left_out} of {left_out + len(setups)} setups are in no figure, only in the tables")
    with style.style():
        for stem, draw in _figures(table, setups, notes, missing):
            try:
                paths += _save(draw(), table.folder / stem)
            except _BROKEN as error:
                notes.append(f"{title}: {stem} was not drawn ({type(error).__name__}: {error})")
    notes += [f"{title}: no {file} for {_some(lacking)}" for file, lacking in missing.items()]
    return paths, notes


def _save(made: Figure | list[Any] | None, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, frames as GIF, and nothing as nothing."""
    if not made:
        return []
    if isinstance(made, list):
        return save_gif(made, stem.with_name(f"{stem.name}.gif"))
    return style.save(made, stem)


def _some(lacking: list[str]) -> str:
    return lacking[0] if len(lacking) == 1 else f"{lacking[0]} and {len(lacking) - 1} more"


def folder_name(title: str, rows: pd.DataFrame) -> str:
    """The folder below ``figures`` for one table of the leaderboard."""
    dataset, _, protocol, _ = rows[TABLE].iloc[0]
    if title == f"{dataset}, {protocol}":
        return f"{names.file_name(dataset)}-{names.file_name(protocol)}"
    return names.file_name(title.replace(", ", "-").replace(" ", "-"))


def _setups(board: pd.DataFrame) -> tuple[dict[tuple, str], int]:
    """The setups to draw, with their names, and how many there were too many."""
    every = names.setup_names(board)
    ordered = sorted(every, key=lambda setup: bool(setup[2]))
    return {setup: every[setup] for setup in ordered[:MOST_SETUPS]}, max(0, len(ordered) - MOST_SETUPS)


def _figures(
    table: Table, setups: dict[tuple, str], notes: list[str], missing: Missing
) -> Iterator[tuple[str, Drawing]]:
    """Each figure's file name and the function that draws it."""
    title, board, scores = table.title, table.board, table.scores
    runs = scores.drop_duplicates("run_id").sort_values(["seed", "run_id"])
    of_setup = {setup: [table.records[name] for name in part["run_id"]] for setup, part in runs.groupby(SETUP)}
    yield "scores", lambda: plots.scores_figure(title, board, scores, setups)
    yield "ranks", lambda: comparisons.ranks_figure(title, board, table.means, setups)
    yield "improvement", lambda: comparisons.improvement_figure(title, board, scores, setups)
    yield "published", lambda: comparisons.published_figure(title, table.comparison)
    yield "reconstruction", lambda: plots.reconstruction_figure(title, board, scores, setups)
    histories = {setup: _histories(of_setup[setup], notes, missing) for setup in setups}
    yield "training", lambda: plots.training_figure(title, histories, setups)
    for series in varied.series(of_setup):
        yield (
            f"settings-{names.file_name(f'{series.name}-{series.key}')}",
            functools.partial(comparisons.settings_figure, title, series, board, scores),
        )
    for setup, name in setups.items():
        for what, draw in _of_run(title, name, of_setup[setup], notes, missing):
            yield f"{names.file_name(name)}-{what}", draw


def _of_table(rows: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """Those of ``rows`` that are of the dataset and protocol of ``board``, in so far as they name them."""
    here = board.iloc[0]
    same = [rows[name] == here[name] for name in TABLE if name in rows]
    return rows[np.logical_and.reduce(same)] if len(rows) else rows


def _of_run(
    title: str, name: str, records: list[Record], notes: list[str], missing: Missing
) -> Iterator[tuple[str, Drawing]]:
    """The figures of one model, from its run of the lowest seed that has the file."""
    matrices, of_matrices = _first(records, "matrices.npz", notes, missing)
    pictures, of_pictures = _first(records, "pictures.npz", notes, missing)
    if of_pictures is not None:
        head = f"{name}, seed {of_pictures.spec.seed} ({title})"
        # The active latents are another run's if that run has no matrices.
        active = matrices if of_matrices is of_pictures else {}
        yield "traversals", lambda: traversal_frames(pictures, active)
        yield "traversals", lambda: panels.traversals_figure(head, pictures, active)
        yield "reconstructions", lambda: panels.reconstructions_figure(head, pictures)
    coded = next((record for record in records if (record.folder / "codes.npz").exists()), None)
    indices = _indices(coded, notes) if coded else None
    if coded and indices is not None:
        head = f"{name}, seed {coded.spec.seed} ({title})"
        own = matrices if of_matrices is coded else {}
        yield "codebook", functools.partial(panels.codebook_figure, head, indices, own)
    if of_matrices is not None:
        factors = [one_line(factor) for factor in of_matrices.content.get("dataset", {}).get("factor_names", [])]
        seed = of_matrices.spec.seed
        yield "matrices", lambda: panels.matrices_figure(f"{name}, seed {seed} ({title})", matrices, factors)


def _first(
    records: list[Record], file: str, notes: list[str], missing: Missing
) -> tuple[dict[str, Any], Record | None]:
    """The arrays of the first run that has this file, and the run."""
    for record in records:
        path = record.folder / file
        if not path.exists():
            continue
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays), record
        except _BROKEN as error:
            notes.append(f"{record.folder.name}: {file} cannot be read ({error})")
    missing.setdefault(file, []).append(records[0].folder.name)
    return {}, None


def _indices(record: Record, notes: list[str]) -> np.ndarray | None:
    """The symbols [n, d] of a run's codes; None if its model is continuous or the file is damaged."""
    try:
        with np.load(record.folder / "codes.npz", allow_pickle=False) as arrays:
            return np.asarray(arrays["indices"]) if "indices" in arrays else None
    except _BROKEN as error:
        notes.append(f"{record.folder.name}: codes.npz cannot be read ({error})")
        return None


def _histories(records: list[Record], notes: list[str], missing: Missing) -> list[pd.DataFrame]:
    import pandas as pd

    found = []
    for record in records:
        path = record.folder / "history.csv"
        try:
            history = pd.read_csv(path)
            numeric = history.select_dtypes("number")
            if "step" not in numeric or numeric.empty:
                raise ValueError("it has no column 'step'")
            found.append(numeric)
        except FileNotFoundError:
            missing.setdefault("history.csv", []).append(record.folder.name)
        except _BROKEN as error:
            notes.append(f"{record.folder.name}: history.csv cannot be read ({error})")
    return found
