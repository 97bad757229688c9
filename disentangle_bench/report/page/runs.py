"""Collect the page's data on single runs: spec, scores, provenance, history, matrices and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.errors import one_line
from disentangle_bench.report.companions import Unreadable, read_arrays, read_history
from disentangle_bench.report.figures.runs import MOST, active_latents, tile
from disentangle_bench.report.page.pictures import Budget, webp
from disentangle_bench.report.scores import dataset_names, run_row
from disentangle_bench.spec import flat
from disentangle_bench.store.runs import command

if TYPE_CHECKING:
    from disentangle_bench.report.results import Results
    from disentangle_bench.store.runs import Record

POINTS, CURVES = 80, 8
"""Largest numbers of points in a training curve, and of curves for a run, in the page."""
MOST_PANELS = 1000
"""Largest number of runs with a panel; the scores of further runs are in the tables only."""
LONGEST = 4000
"""Largest number of characters shown of a failure's traceback, counted from its end."""


def run_panels(results: Results, budget: Budget) -> tuple[list[dict[str, Any]], int]:
    """Return panels of finished, failed and unfinished runs, and the number of runs whose pictures are left out.

    If the budget does not suffice for all, the runs with the lowest seeds get pictures.
    """
    records = results.records[:MOST_PANELS]
    names = dataset_names(results.records)
    panels = [_finished(record, results.by_version, names) for record in records]
    left_out = 0
    for index in sorted(range(len(records)), key=lambda index: records[index].spec.seed):
        pictures = _pictures(records[index], budget) if budget.left > 0 else None
        panels[index]["pictures"] = pictures
        left_out += pictures is None and (records[index].folder / "pictures.npz").exists()
    panels += [_failed(failure) for failure in results.failures[:MOST_PANELS]]
    panels += [{"id": one_line(name), "status": "unfinished"} for name in results.unfinished[:MOST_PANELS]]
    return panels, left_out


def _finished(record: Record, by_version: bool, names: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    spec, content = record.spec, record.content
    row = run_row(record, by_version, names)
    scores = [
        [one_line(f"{score['metric']}.{score['score']}"), float(score["value"]), one_line(score.get("unit") or ""),
         one_line(f"{score['variant']}, version {score['version']}"), score.get("chance")]
        for score in record.scores
    ]  # fmt: skip
    environment = content.get("environment") or {}
    provenance = {
        "run": row["run_id"],
        "digest of the spec": content.get("digest"),
        "finished": row["finished"],
        "to repeat it": None if spec.external else command(spec, Path("results")),
        **_under("codes from elsewhere", content.get("external")),
        "package": " ".join(str(part) for part in (content.get("package") or {}).values() if part),
        "parameters": content.get("parameters"),
        **_under("images", content.get("images")),
        **_under("seconds", content.get("seconds")),
        **_under("peak memory", _megabytes(content.get("peak_memory")), " MB"),
        **environment,
    }
    remarks = [one_line(f"{metric}: {name}: {text}") for metric, notes in (content.get("notes") or {}).items()
               if isinstance(notes, Mapping) for name, text in notes.items()]  # fmt: skip
    return {
        "id": one_line(row["run_id"]),
        "status": "finished",
        "model": row["model"],
        "changed": row["changed"],
        "dataset": row["dataset"],
        "protocol": row["protocol"],
        "seed": row["seed"],
        "settings": row["settings"],
        "scores": scores,
        "spec": _pairs({"model": spec.model, "model version": spec.model_version, "dataset": spec.dataset,
                        "dataset version": spec.dataset_version, "protocol": spec.protocol,
                        "protocol version": spec.protocol_version, "seed": spec.seed, **flat(spec)}),
        "provenance": _pairs(provenance),
        "remarks": remarks,
        "history": _history(record.folder / "history.csv"),
        "matrices": _matrices(record),
    }  # fmt: skip


def _under(name: str, values: Any, unit: str = "") -> dict[str, Any]:
    """Return nested values flattened to one level, with names such as ``seconds, training``."""
    flat_values: dict[str, Any] = {}
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, Mapping):
            flat_values |= _under(f"{name}, {key}", value, unit)
        elif value is not None:
            flat_values[f"{name}, {key}"] = f"{round(value, 1) if isinstance(value, float) else value}{unit}"
    return flat_values


def _megabytes(values: Any) -> dict[str, float]:
    return {key: size / 1e6 for key, size in values.items() if size} if isinstance(values, Mapping) else {}


def _pairs(values: Mapping[str, Any]) -> list[list[str]]:
    return [[one_line(key), one_line(value)] for key, value in values.items() if value is not None]


def _failed(failure: dict[str, Any]) -> dict[str, Any]:
    panel = {name: one_line(failure.get(name, "")) for name in ("model", "dataset", "protocol")}
    return panel | {
        "id": one_line(failure.get("run_id")),
        "status": "failed",
        "seed": failure["seed"] if isinstance(failure.get("seed"), int) else None,
        "error": one_line(failure.get("error") or "unknown error"),
        "traceback": str(failure.get("traceback") or "")[-LONGEST:],
        "command": one_line(failure.get("command") or ""),
    }


def _history(path: Path) -> dict[str, Any] | None:
    """Return a thinned ``history.csv``: the steps and up to ``CURVES`` columns; None if it is missing or damaged."""
    try:
        table = read_history(path)
    except (FileNotFoundError, Unreadable):
        return None
    table = table.dropna(subset="step").iloc[:: max(1, -(-len(table) // POINTS))]
    columns = [name for name in table if name not in ("step", "learning_rate")]
    columns = sorted(columns, key=lambda name: (name not in ("loss", "mse"), columns.index(name)))[:CURVES]
    curves = {one_line(name): [float(f"{value:.4g}") for value in table[name]] for name in columns}
    return {"steps": [float(step) for step in table["step"]], "curves": curves}


def _matrices(record: Record) -> dict[str, Any] | None:
    """Return factors [k] against latents [d]: NMI and importance as rows of numbers, and which latents are active."""
    try:
        arrays = read_arrays(record.folder / "matrices.npz")
    except (FileNotFoundError, Unreadable):
        return None
    maps = {}
    for name, key, turned in (("normalised mutual information", "infomec.nmi", False),
                              ("importance (DCI)", "dci.importance", True)):  # fmt: skip
        matrix = arrays.get(key)
        if matrix is not None and matrix.ndim == 2 and matrix.dtype.kind in "fiub":
            rows = (matrix.T if turned else matrix)[:, :MOST].astype(float)
            maps[name] = np.round(rows, 3).tolist()
    if not maps:
        return None
    d = len(next(iter(maps.values()))[0])
    return {
        "maps": maps,
        "active": active_latents(arrays, len(arrays["infomec.active"]))[:d].tolist()
        if arrays.get("infomec.active", np.zeros(())).ndim == 1 else None,
        "factors": [one_line(name) for name in record.content.get("dataset", {}).get("factor_names", [])],
    }  # fmt: skip


def _pictures(record: Record, budget: Budget) -> dict[str, Any] | None:
    """Return traversals and reconstructions as sheets; None if there are none or the budget does not suffice."""
    from PIL import Image

    try:
        arrays = read_arrays(record.folder / "pictures.npz")
        traversals = arrays["traversals"][:MOST]
        pairs = np.stack([arrays["originals"], arrays["reconstructions"]])[:, :12]
        sheets = {name: (images.shape, Image.fromarray(tile(images)))
                  for name, images in (("reconstructions", pairs), ("traversals", traversals))}  # fmt: skip
    except (FileNotFoundError, Unreadable, ValueError, KeyError, IndexError, TypeError):
        return None
    pictures: dict[str, Any] = {}
    for name, ((rows, columns, h, w, _), sheet) in sheets.items():
        source = budget.spend(webp(sheet, quality=75))
        if not source:
            return None
        pictures[name] = {"source": source, "rows": rows, "columns": columns, "h": h, "w": w, "gap": 2}
    return pictures
