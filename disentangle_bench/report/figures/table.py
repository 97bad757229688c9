"""Draw the figures of one table of the leaderboard: choose the figures, their runs and their files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import one_line
from disentangle_bench.report import labels
from disentangle_bench.report.companions import Unreadable, read_arrays, read_history
from disentangle_bench.report.figures import style
from disentangle_bench.report.figures.ablations import settings_figure, varied_settings
from disentangle_bench.report.figures.budget import budget_figure
from disentangle_bench.report.figures.comparisons import (
    agreement_figure,
    improvement_figure,
    published_figure,
    ranks_figure,
)
from disentangle_bench.report.figures.runs import (
    MATRICES,
    codebook_figure,
    latents_figure,
    matrices_figure,
    reconstructions_figure,
    save_gif,
    traversal_frames,
    traversals_figure,
)
from disentangle_bench.report.figures.scores import (
    profile_figure,
    reconstruction_figure,
    scores_figure,
    training_figure,
)
from disentangle_bench.report.scores import SETUP, TABLE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from disentangle_bench.store.runs import Record

MOST_SETUPS = 24
"""Largest number of setups in a figure; those that follow the protocol come first."""

TABLE_FIGURES = (
    "scores", "reconstruction", "ranks", "improvement", "agreement", "profile", "settings", "published", "training",
    "budget",
)  # fmt: skip
"""File names of the figures that show all models of a dataset; the others show one run."""

Drawing = Callable[[], "Figure | list[Any] | None"]
"""A function that returns a figure, the frames of an animation, or None."""
Drawn = tuple[list[Path], list[str]]
"""The files written, and remarks on what could not be drawn."""
Missing = dict[str, list[str]]
"""Companion files, and the runs that lack them."""


@dataclass(frozen=True)
class Table:
    """The data from which the figures of one table of the leaderboard are drawn; it can be sent to another process."""

    title: str
    folder: Path
    board: pd.DataFrame
    scores: pd.DataFrame
    means: pd.DataFrame
    comparison: pd.DataFrame
    records: dict[str, Record]


def draw_table(
    table: Table, say: Callable[[str], None] = lambda line: None, share: tuple[int, int] = (0, 1)
) -> list[Drawn]:
    """Draw the figures of one table; return the files written for each figure, and remarks on what is missing.

    With ``share`` (i, n), only every n-th figure from the i-th on is drawn, so that n processes can share a table; the
    others have no files. The last element holds the remarks on the table as a whole. ``say`` is called with a line of
    text before each figure.
    """
    title, notes = _title(table), list[str]()
    missing: Missing = {}
    setups, left_out = _setups(table.board)
    if left_out:
        notes.append(f"{title}: {left_out} of {left_out + len(setups)} setups are in no figure, only in the tables")
    first, processes = share
    drawn = []
    with style.style(), style.light_font():
        for index, (stem, draw) in enumerate(_figures(table, setups, notes, missing)):
            paths = list[Path]()
            if index % processes == first:
                say(f"figure {one_line(table.folder.name)}/{stem}")
                try:
                    paths = _save(draw(), table.folder / stem)
                except Exception as error:  # a foreign file's arrays can have any shape; only this figure may fail
                    notes.append(f"{title}: {stem} was not drawn ({type(error).__name__}: {error})")
            drawn.append((paths, notes.copy()))
            notes.clear()
    for file, lacking in missing.items():
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        notes.append(f"{title}: no {file} for {lacking[0]}{more}")
    return [*drawn, ([], notes)]


def figures_of(table: Table) -> Iterator[tuple[str, Drawing]]:
    """Yield the file name of each figure of a table, and the function that draws it."""
    yield from _figures(table, _setups(table.board)[0], [], {})


def _title(table: Table) -> str:
    """Return the title of a table's figures, with the settings that all of its setups have changed alike."""
    return " ".join([table.title, *(f"({setting})" for setting in labels.shared_settings(table.board))])


def _save(drawing: Figure | list[Any] | None, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, or frames as a GIF; return the paths, none if there is nothing to write."""
    if not drawing:
        return []
    if isinstance(drawing, list):
        return save_gif(drawing, stem.with_name(f"{stem.name}.gif"))
    return style.save(drawing, stem)


def folder_name(title: str, rows: pd.DataFrame) -> str:
    """Return the name of the folder below ``figures`` for one table of the leaderboard."""
    dataset, _, protocol, _ = rows[TABLE].iloc[0]
    if title == f"{dataset}, {protocol}":
        return f"{labels.file_name(dataset)}-{labels.file_name(protocol)}"
    return labels.file_name(title.replace(", ", "-").replace(" ", "-"))


def _setups(board: pd.DataFrame) -> tuple[dict[tuple, str], int]:
    """Return the setups to draw, with their names, and the number of setups left out.

    Settings that all setups share are not in their names but in the title of each figure.
    """
    every = labels.setup_names(board, labels.shared_settings(board))
    ordered = sorted(every, key=lambda setup: bool(setup[2]))
    return {setup: every[setup] for setup in ordered[:MOST_SETUPS]}, max(0, len(ordered) - MOST_SETUPS)


def _figures(
    table: Table, setups: dict[tuple, str], notes: list[str], missing: Missing
) -> Iterator[tuple[str, Drawing]]:
    """Yield each figure's file name and the function that draws it."""
    title, board, scores = _title(table), table.board, table.scores
    runs = scores.drop_duplicates("run_id").sort_values(["seed", "run_id"])
    of_setup = {setup: [table.records[name] for name in part["run_id"]] for setup, part in runs.groupby(SETUP)}
    yield "scores", lambda: scores_figure(title, board, scores, setups)
    yield "ranks", lambda: ranks_figure(title, board, table.means, setups)
    yield "improvement", lambda: improvement_figure(title, board, scores, setups)
    yield "agreement", lambda: agreement_figure(title, board, scores, setups)
    yield "profile", lambda: profile_figure(title, board, scores, setups)
    yield "published", lambda: published_figure(title, table.comparison)
    yield "reconstruction", lambda: reconstruction_figure(title, board, scores, setups)
    yield "budget", lambda: budget_figure(title, board, scores, table.records)
    histories = {setup: _histories(of_setup[setup], notes, missing) for setup in setups}
    yield "training", lambda: training_figure(title, histories, setups)
    for series in varied_settings(of_setup):
        yield (
            f"settings-{labels.file_name(f'{series.name}-{series.key}')}",
            functools.partial(settings_figure, title, series, board, scores),
        )
    for setup, name in setups.items():
        for what, draw in _of_run(title, name, of_setup[setup], notes, missing):
            yield f"{labels.file_name(name)}-{what}", draw


def _of_run(
    title: str, name: str, records: list[Record], notes: list[str], missing: Missing
) -> Iterator[tuple[str, Drawing]]:
    """Yield the figures of one model, each from the run with the lowest seed that has the file."""

    def head(record: Record) -> str:
        return f"{labels.setup_title(name)}, seed {record.spec.seed} ({title})"

    matrices, of_matrices = _first(records, "matrices.npz", notes, missing)
    pictures, of_pictures = _first(records, "pictures.npz", notes, missing)
    codes, of_codes = _first(records, "codes.npz", notes, {})
    if of_pictures is not None:
        # If the run with the pictures has no matrices, the ones read belong to another run.
        active = matrices if of_matrices is of_pictures else {}
        yield "traversals", lambda: traversal_frames(pictures, active)
        yield "traversals", lambda: traversals_figure(head(of_pictures), pictures, active)
        yield "reconstructions", lambda: reconstructions_figure(head(of_pictures), pictures)
    if of_codes is not None and "indices" in codes:
        own = matrices if of_matrices is of_codes else {}
        yield "codebook", lambda: codebook_figure(head(of_codes), codes["indices"], own)
    if of_matrices is not None and any(key in matrices for key in MATRICES):
        factors = [one_line(factor) for factor in of_matrices.content.get("dataset", {}).get("factor_names", [])]
        yield "matrices", lambda: matrices_figure(head(of_matrices), matrices, factors)
        if of_matrices is of_codes and "infomec.nmi" in matrices and "factors" in codes:
            yield (
                "latents",
                lambda: latents_figure(head(of_matrices), codes["codes"], codes["factors"], matrices, factors),
            )


def _first(
    records: list[Record], file: str, notes: list[str], missing: Missing
) -> tuple[dict[str, Any], Record | None]:
    """Return the arrays of the first run that has this file, and the run."""
    for record in records:
        try:
            return read_arrays(record.folder / file), record
        except FileNotFoundError:
            continue
        except Unreadable as error:
            notes.append(f"{record.folder.name}: {file} cannot be read ({error})")
    if not records[0].spec.external:  # codes from elsewhere come alone
        missing.setdefault(file, []).append(records[0].folder.name)
    return {}, None


def _histories(records: list[Record], notes: list[str], missing: Missing) -> list[pd.DataFrame]:
    histories = []
    for record in records:
        try:
            histories.append(read_history(record.folder / "history.csv"))
        except FileNotFoundError:
            if not record.spec.external:
                missing.setdefault("history.csv", []).append(record.folder.name)
        except Unreadable as error:
            notes.append(f"{record.folder.name}: history.csv cannot be read ({error})")
    return histories
