"""The page: one HTML file that holds tables, figures and runs, and needs neither a network nor a server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.atomic import write_text
from disentangle_bench.errors import one_line
from disentangle_bench.report import citation, labels
from disentangle_bench.report.figures.table import TABLE_FIGURES, folder_name
from disentangle_bench.report.page.runs import Budget, run_panels
from disentangle_bench.report.scores import SCORE, SETUP
from disentangle_bench.report.tables import markdown
from disentangle_bench.report.tables.sheet import Sheet, sheets

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.report.results import Results

SCRIPTS = ("dom.js", "charts.js", "leaderboard.js", "sections.js", "runs.js", "main.js")
"""Joined in this order into the page's one script."""

LARGEST = 11_000_000
"""Bytes of pictures, as they stand in the page; runs beyond that have none and say so."""


def write_page(results: Results, target: Path, figures: Sequence[Path], refresh: int | None = None) -> Path:
    """Write the page to ``target`` and give that path.

    ``figures`` are the files that ``write_figures`` wrote: PNGs of whole tables are embedded. With ``refresh`` the page
    loads itself again every so many seconds. Texts from records get into the page as JSON and onto the screen as text;
    a Content-Security-Policy lets only this page's own script and style run, and nothing be loaded.
    """
    text = render(page_data(results, figures, refresh))
    write_text(target, text)
    return target


def render(data: dict[str, Any]) -> str:
    """The page with this content."""
    import jinja2

    folder = resources.files("disentangle_bench.report.page").joinpath("assets")
    script = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
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
    """JSON that can stand in a ``script`` element: what could end the element is escaped; NaN becomes null."""
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escapes: dict[str, str | int | None] = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    # A lone surrogate is no text in UTF-8.
    return text.translate(str.maketrans(escapes)).encode("utf-8", "replace").decode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page_data(results: Results, figures: Sequence[Path], refresh: int | None = None) -> dict[str, Any]:
    """All that the page shows, as plain data."""
    sha256 = citation.digest(results.csv)
    budget = Budget(LARGEST)
    parts = dict(labels.tables(results.scores))
    tables = []
    for sheet, (title, rows) in zip(sheets(results.board), labels.tables(results.board), strict=True):
        place = folder_name(title, rows)
        table = _table(sheet, rows, parts[title]) | {
            "remarks": markdown.remarks(rows, parts[title]),
            "figures": [
                {"name": path.stem, "source": source}
                for path in figures
                if path.suffix == ".png" and path.parent.name == place and path.stem.partition("-")[0] in TABLE_FIGURES
                if (source := budget.spend(_webp(path)))
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
            "bibtex": citation.bibtex(results.records, sha256),
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


def _table(sheet: Sheet, board: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Any]:
    """One dataset under one protocol: columns, and rows of cells with the values of all seeds."""
    dataset, dataset_version, protocol, protocol_version = board.iloc[0][
        ["dataset", "dataset_version", "protocol", "protocol_version"]
    ]
    title = sheet.title.rpartition(", ")
    values: dict[tuple, list[list[float]]] = {}
    for key, seed, value in zip(
        scores[SETUP + SCORE].itertuples(index=False, name=None), scores["seed"], scores["value"], strict=True
    ):
        values.setdefault(key, []).append([int(seed), float(value)])
    rows = []
    for setup, name in sheet.rows.items():
        cells = [_cell(sheet.cells.get((setup, kind)), values.get(setup + kind, [])) for kind in sheet.columns]
        about = {"name": name, "model": setup[0], "off": bool(setup[2]), "settings": setup[3]}
        rows.append(about | {"seeds": sheet.seeds[setup], "cells": cells})
    return {
        "title": sheet.title,
        "dataset": title[0] or dataset,
        "protocol": title[2],
        "versions": f"{dataset} version {dataset_version}, protocol {protocol} version {protocol_version}",
        "ranked": sheet.ranked,
        "columns": [
            {"name": column.name, "metric": kind[0], "unit": column.unit, "direction": column.direction,
             "decimals": column.decimals, "variant": f"{kind[2]}, version {kind[3]}"}
            for kind, column in sheet.columns.items()
        ],
        "rows": rows,
    }  # fmt: skip


def _cell(row: Any, values: list[list[float]]) -> dict[str, Any] | None:
    if row is None:
        return None
    rank = [_whole(value) for value in (row.rank, row.rank_low, row.rank_high)]
    return {"n": int(row.n), "undefined": int(row.undefined), "mean": row.mean, "std": row.std, "median": row.median,
            "iqm": row.iqm, "low": row.ci_low, "high": row.ci_high, "rank": rank, "note": row.note,
            "values": values}  # fmt: skip


def _whole(value: Any) -> int | None:
    import pandas as pd

    return None if pd.isna(value) else int(value)


def _webp(path: Path) -> bytes:
    """A figure as WebP: a quarter of the PNG's bytes, and what is left out cannot be seen."""
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(stream, "WEBP", quality=82, method=2)
    return stream.getvalue()
