"""Write the page: one HTML file that holds tables, figures and runs, and needs neither a network nor a server."""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.atomic import write_text
from disentangle_bench.errors import one_line
from disentangle_bench.registry import MODELS
from disentangle_bench.report import citation, labels
from disentangle_bench.report.figures.table import TABLE_FIGURES, folder_name
from disentangle_bench.report.page.pictures import Budget, webp
from disentangle_bench.report.page.runs import run_panels
from disentangle_bench.report.scores import SCORE, SETUP, TABLE
from disentangle_bench.report.tables import markdown
from disentangle_bench.report.tables.sheet import Column, Sheet, sheets
from disentangle_bench.store.files import finite

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.report.results import Results

SCRIPTS = ("dom.js", "charts.js", "leaderboard.js", "sections.js", "runs.js", "main.js")
"""Files that are joined, in this order, into the page's single script."""

EMBEDDED = set(TABLE_FIGURES) - {"scores", "reconstruction", "improvement"}
"""Figures in the page; the page's script draws the others itself."""

DOCUMENTATION = "https://github.com/disentangle-bench/disentangle-bench/blob/main/docs"

LARGEST = 11_000_000
"""Largest number of bytes of pictures, as encoded in the page; further runs have none, and the page says so."""


def write_page(results: Results, target: Path, figures: Sequence[Path], refresh: int | None = None) -> Path:
    """Write the page to ``target`` and return that path.

    ``figures`` are the files that ``write_figures`` wrote; PNGs of whole tables are embedded. The page reloads every
    ``refresh`` seconds, if given. Texts from records enter the page as JSON and are shown as plain text; a
    Content-Security-Policy allows only this page's own script and style, and forbids loading anything.
    """
    text = render(page_data(results, figures, refresh))
    write_text(target, text)
    return target


def render(data: dict[str, Any]) -> str:
    """Return the HTML of the page with this content."""
    import jinja2

    folder = resources.files("disentangle_bench.report.page").joinpath("assets")
    script = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    colours = "".join(f"--c{index}: {colour};" for index, colour in enumerate(labels.COLOURS))
    style = f":root {{ {colours} }}\n" + folder.joinpath("page.css").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        folder.joinpath("page.html.jinja").read_text(encoding="utf-8")
    )
    return template.render(
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=embed(data),
        meta=data["meta"],
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def embed(data: Any) -> str:
    """Return JSON that is safe inside a ``script`` element: what could end it is escaped, and NaN becomes null."""
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escapes: dict[str, str | int | None] = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    # UTF-8 cannot hold a lone surrogate, so it is replaced.
    return text.translate(str.maketrans(escapes)).encode("utf-8", "replace").decode()


def page_data(results: Results, figures: Sequence[Path], refresh: int | None = None) -> dict[str, Any]:
    """Return everything that the page shows, as plain data."""
    sha256 = citation.digest(results.csv)
    budget = Budget(LARGEST)
    parts = dict(labels.tables(results.scores))
    tables = []
    for sheet, (title, rows) in zip(sheets(results.board), labels.tables(results.board), strict=True):
        folder = folder_name(title, rows)
        table = _table(sheet, rows, parts[title], results) | {
            "remarks": markdown.remarks(rows, parts[title]),
            "figures": [
                {"name": path.stem, "source": source}
                for path in figures
                if path.suffix == ".png" and path.parent.name == folder and path.stem.partition("-")[0] in EMBEDDED
                if (source := budget.spend(_figure(path)))
            ],
        }
        tables.append(table)
    panels, left_out = run_panels(results, budget)
    notes = [one_line(note) for note in results.notes]
    if left_out:
        notes.append(f"pictures of {left_out} runs are not in this page, to keep it small: see their folders")
    return {
        "meta": {
            "title": "disentangle-bench",
            "versions": citation.versions(results.records),
            "sha256": sha256,
            "bibtex": citation.bibtex(results.records, sha256, results.credit),
            "runs": len(results.records),
            "failed": len(results.failures),
            "unfinished": len(results.unfinished),
            "refresh": refresh or 0,
        },
        "tables": tables,
        "means": json.loads(results.means.to_json(orient="records")),
        "published": json.loads(results.comparison.to_json(orient="records")),
        "runs": panels,
        "notes": notes,
    }


def _table(sheet: Sheet, board: pd.DataFrame, scores: pd.DataFrame, results: Results) -> dict[str, Any]:
    """Return the table of one dataset and protocol: columns, and rows of cells with the values of all seeds."""
    dataset, dataset_version, protocol, protocol_version = key = tuple(board.iloc[0][TABLE])
    title = sheet.title.rpartition(", ")
    values: dict[tuple, list[list[float]]] = {}
    for group, seed, value in zip(
        scores[SETUP + SCORE].itertuples(index=False, name=None), scores["seed"], scores["value"], strict=True
    ):
        values.setdefault(group, []).append([int(seed), float(value)])
    costs, look_numbers = _costs(scores, results), labels.look_numbers(sheet.rows)
    groups = results.groups[(results.groups[TABLE] == list(key)).all(axis=1)]
    kinds = list(dict.fromkeys(groups[SCORE].itertuples(index=False, name=None)))
    grouped = {tuple(getattr(row, part) for part in SETUP + SCORE): row for row in labels.rows_of(groups)}
    mean_ranks = {
        (row.model, row.model_version, row.settings): [row.mean_rank, row.ci_low, row.ci_high, _whole(row.place)]
        for row in labels.rows_of(results.means)
        if (row.dataset, row.dataset_version, row.protocol, row.protocol_version) == key
    }
    rows = []
    for setup, name in sheet.rows.items():
        cells = [_cell(sheet.cells.get((setup, kind)), values.get(setup + kind, [])) for kind in sheet.columns]
        about = {"name": name, "title": labels.setup_title(name), "model": setup[0], "off": bool(setup[2]),
                 "settings": setup[3], "place": look_numbers[setup], "page": _page_of(setup[0])}  # fmt: skip
        mean_rank = None if setup[2] else mean_ranks.get((setup[0], setup[1], setup[3]))
        rows.append(about | {"seeds": sheet.seeds[setup], "mean_rank": mean_rank,
                             "cells": cells + [_group_cell(grouped.get(setup + kind)) for kind in kinds]
                             + costs.get(setup, [None] * len(_COSTS))})  # fmt: skip
    return {
        "title": sheet.title,
        "dataset": title[0] or dataset,
        "protocol": title[2],
        "versions": f"{dataset} version {dataset_version}, protocol {protocol} version {protocol_version}",
        "ranked": sheet.ranked,
        "columns": [_column(kind, column) for kind, column in sheet.columns.items()]
        + [_column(kind, _group_column(groups, kind)) for kind in kinds] + [
            {"name": name, "title": name, "metric": "cost", "group": "", "unit": unit, "direction": "lower",
             "decimals": decimals, "variant": meaning, "secondary": True}
            for name, unit, decimals, meaning in _COSTS
        ],
        "rows": rows,
    }  # fmt: skip


def _column(kind: tuple, column: Any) -> dict[str, Any]:
    return {
        "name": column.name,
        "title": labels.score_title(column.name),
        "metric": kind[0],
        "group": labels.METRIC_TITLES.get(kind[0], kind[0].replace("_", " ")),
        "unit": column.unit,
        "direction": column.direction,
        "decimals": column.decimals,
        "variant": f"{kind[2]}, version {kind[3]}",
        "secondary": kind[1] not in labels.HEADLINE,
    }


def _group_column(groups: pd.DataFrame, kind: tuple) -> Column:
    """Return the column of a score of groups of runs."""
    row = groups[(groups[SCORE] == list(kind)).all(axis=1)].iloc[0]
    return Column(kind[1], row["unit"], row["direction"], 3)


def _group_cell(row: Any) -> dict[str, Any] | None:
    """Return the cell of a score of all seeds together, which has neither an interval nor a rank."""
    if row is None:
        return None
    defined = row.value == row.value
    return {"n": int(row.n) if defined else 0, "undefined": 0, "mean": row.value, "std": None, "median": row.value,
            "iqm": row.value, "low": row.value, "high": row.value, "chance": row.chance, "rank": [None] * 3,
            "note": "", "values": []}  # fmt: skip


_COSTS = (
    ("parameters", "M", 2, "trainable parameters in millions"),
    ("training time", "min", 1, "minutes of training"),
    ("time per image", "ms", 3, "milliseconds of training per image seen"),
    ("memory", "MB", 0, "peak memory of the run's process or device"),
)
"""Columns of the costs of a run: name, unit, decimals and meaning."""


def _costs(scores: pd.DataFrame, results: Results) -> dict[tuple, list[dict[str, Any] | None]]:
    """Return, for each setup, a cell for each of ``_COSTS`` with the mean over its runs."""
    contents = {record.folder.name: record.content for record in results.records}
    runs = scores.drop_duplicates("run_id").sort_values("seed")
    cells = {}
    for setup, part in runs.groupby(SETUP):
        columns = zip(*(_cost(contents[name]) for name in part["run_id"]), strict=True)
        cells[setup] = [_cost_cell(part["seed"].tolist(), column) for column in columns]
    return cells


def _cost(content: dict[str, Any]) -> list[float | None]:
    """Return parameters, minutes, milliseconds per image and megabytes of one run; None where the record has none."""
    minutes = (content.get("seconds") or {}).get("training")
    images = max((n for player, n in (content.get("images") or {}).items() if player != "evaluation"), default=0)
    memory = [size for size in (content.get("peak_memory") or {}).values() if size]
    parameters = content.get("parameters")
    return [
        parameters / 1e6 if parameters else None,
        minutes / 60 if minutes else None,
        1000 * minutes / images if minutes and images else None,
        max(memory) / 1e6 if memory else None,
    ]


def _cost_cell(seeds: list[int], column: Sequence[float | None]) -> dict[str, Any] | None:
    values = [[seed, value] for seed, value in zip(seeds, column, strict=True) if value is not None]
    numbers = sorted(value for _, value in values if value is not None)
    if not numbers:
        return None
    mean, median = sum(numbers) / len(numbers), statistics.median(numbers)
    return {"n": len(numbers), "undefined": 0, "mean": mean, "std": None, "median": median, "iqm": mean,
            "low": numbers[0], "high": numbers[-1], "chance": None, "rank": [None] * 3, "note": "",
            "values": values}  # fmt: skip


def _page_of(model: str) -> str:
    """Return the address of the documentation of a model that comes with the suite; empty for a plug-in."""
    group = MODELS.entries[model].group if model in MODELS.entries else ""
    return f"{DOCUMENTATION}/models/{model}.md" if group not in ("", "plugin") else ""


def _cell(row: Any, values: list[list[float]]) -> dict[str, Any] | None:
    if row is None:
        return None
    rank = [_whole(value) for value in (row.rank, row.rank_low, row.rank_high)]
    return {"n": int(row.n), "undefined": int(row.undefined), "mean": row.mean, "std": row.std, "median": row.median,
            "iqm": row.iqm, "low": row.ci_low, "high": row.ci_high, "chance": getattr(row, "chance", None),
            "rank": rank, "note": row.note, "values": values}  # fmt: skip


def _whole(value: Any) -> int | None:
    import pandas as pd

    return None if pd.isna(value) else int(value)


def _figure(path: Path) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        return webp(image, quality=82)
