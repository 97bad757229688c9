"""All figures of a report: which are drawn, from which runs, into which files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.report import names, panels, plots, style
from disentangle_bench.report.scores import SETUP, TABLE, one_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.report.report import Results
    from disentangle_bench.store import Record

MOST_SETUPS = 24
"""Setups in a figure; those by the protocol come first."""

TABLE_FIGURES = ("scores", "reconstruction", "ranks", "improvement", "settings", "published", "training")
"""File names of the figures that show all models of a dataset; the others show one run."""

Missing = dict[str, list[str]]
"""Companion files, and the runs that lack them."""

_BROKEN = (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile)
"""What a damaged, foreign or missing companion file raises. It costs its figure, not the report."""


def write_figures(
    results: Results,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[list[Path], list[str]]:
    """Draw everything below ``folder``, a folder per dataset and protocol.

    Gives the files written (PNG and PDF of each figure) and remarks on what could not be drawn.
    """
    by_name = {record.folder.name: record for record in results.records}
    score_parts = dict(names.tables(results.scores))
    paths: list[Path] = []
    notes: list[str] = []
    missing: Missing = {}
    with style.style():
        for title, rows in names.tables(results.board):
            say(f"figures of {one_line(title)}")
            part = score_parts[title]
            setups, left_out = _setups(rows, part)
            if left_out:
                notes.append(
                    f"{title}: {left_out} of {left_out + len(setups)} setups are in no figure, only in the tables"
                )
            place = folder / folder_name(title, rows)
            for stem, draw in _figures(title, rows, part, setups, by_name, notes, missing):
                try:
                    made = draw()
                    paths += style.save(made, place / stem) if made else []
                except _BROKEN as error:
                    notes.append(f"{title}: {stem} was not drawn ({type(error).__name__}: {error})")
            notes += [f"{title}: no {file} for {_some(lacking)}" for file, lacking in missing.items()]
            missing.clear()
    return paths, [one_line(note) for note in notes]


def _some(lacking: list[str]) -> str:
    return lacking[0] if len(lacking) == 1 else f"{lacking[0]} and {len(lacking) - 1} more"


def folder_name(title: str, rows: pd.DataFrame) -> str:
    """The folder below ``figures`` for one table of the leaderboard."""
    dataset, _, protocol, _ = rows[TABLE].iloc[0]
    if title == f"{dataset}, {protocol}":
        return f"{names.file_name(dataset)}-{names.file_name(protocol)}"
    return names.file_name(title.replace(", ", "-").replace(" ", "-"))


def _setups(board: pd.DataFrame, scores: pd.DataFrame) -> tuple[dict[tuple, str], int]:
    """The setups to draw, with their names, and how many there were too many."""
    every = names.setup_names(board)
    ordered = sorted(every, key=lambda setup: (bool(setup[2]), setup))
    return {setup: every[setup] for setup in ordered[:MOST_SETUPS]}, max(0, len(ordered) - MOST_SETUPS)


def _figures(
    title: str,
    board: pd.DataFrame,
    scores: pd.DataFrame,
    setups: dict[tuple, str],
    records: dict[str, Record],
    notes: list[str],
    missing: Missing,
) -> Iterator[tuple[str, Callable[[], Figure | None]]]:
    """Each figure's file name and the function that draws it."""
    runs = scores.drop_duplicates("run_id").sort_values(["seed", "run_id"])
    of_setup = {setup: [records[name] for name in part["run_id"]] for setup, part in runs.groupby(SETUP)}
    yield "scores", lambda: plots.scores_figure(title, board, scores, setups)
    yield "reconstruction", lambda: plots.reconstruction_figure(title, board, scores, setups)
    histories = {setup: _histories(of_setup[setup], notes, missing) for setup in setups}
    yield "training", lambda: plots.training_figure(title, histories, setups)
    for setup, name in setups.items():
        for what, draw in _of_run(title, name, of_setup[setup], notes, missing):
            yield f"{names.file_name(name)}-{what}", draw


def _of_run(
    title: str, name: str, records: list[Record], notes: list[str], missing: Missing
) -> Iterator[tuple[str, Callable[[], Figure | None]]]:
    """The figures of one model, from its run of the lowest seed that has the file."""
    matrices, of_matrices = _first(records, "matrices.npz", notes, missing)
    pictures, of_pictures = _first(records, "pictures.npz", notes, missing)
    if of_pictures is not None:
        head = f"{name}, seed {of_pictures.spec.seed} ({title})"
        # The active latents are another run's if that run has no matrices.
        active = matrices if of_matrices is of_pictures else {}
        yield "traversals", lambda: panels.traversals_figure(head, pictures, active)
        yield "reconstructions", lambda: panels.reconstructions_figure(head, pictures)
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
