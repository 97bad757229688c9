"""Run folders and their records: one JSON file per run, read many at a time, and the tidy table of all scores.

A results folder holds ``runs/<run_id>/`` for every run and the tables made from them. A run's folder holds
``record.json`` (the run is finished) or ``failed.json`` (it failed), and beside it what is needed to resume
(``checkpoint.pt``), to score again (``codes.npz``) and to draw again (``history.csv``, ``matrices.npz``,
``pictures.npz``, ``model.safetensors``).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.atomic import atomic_path
from disentangle_bench.errors import BenchError
from disentangle_bench.spec import RunSpec
from disentangle_bench.store.files import SCHEMA, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

RECORD, FAILED, SPEC = "record.json", "failed.json", "spec.json"


@dataclass(frozen=True)
class Record:
    """One finished run: its folder and what ``record.json`` says."""

    folder: Path
    content: dict[str, Any]

    @property
    def spec(self) -> RunSpec:
        """What was run."""
        return RunSpec.model_validate(self.content["spec"])

    @property
    def scores(self) -> list[dict[str, Any]]:
        """One dictionary per score: metric, score, value (NaN where undefined), direction, variant, version."""
        return [
            score | {"value": math.nan if score["value"] is None else score["value"]}
            for score in self.content["scores"]
        ]


def run_folder(out: Path, spec: RunSpec) -> Path:
    """Where a run lies within a results folder."""
    return out / "runs" / spec.run_id


def is_finished(folder: Path) -> bool:
    """Whether the run in this folder has its record."""
    return (folder / RECORD).exists()


def has_failed(folder: Path) -> bool:
    """Whether the last attempt at the run in this folder failed."""
    return (folder / FAILED).exists() and not is_finished(folder)


def load_records(out: Path) -> list[Record]:
    """All finished runs of a results folder, in the order of their names.

    Raises ``BenchError`` if the folder is missing, or was not made by ``dbench run``.
    """
    return [Record(path.parent, read_json(path)) for path in _files(out, RECORD)]


def _files(out: Path, name: str) -> list[Path]:
    if not out.is_dir():
        raise BenchError(f"there is no results folder {str(out)!r}: give the folder that dbench run --out wrote to")
    if not (out / "runs").is_dir():
        raise BenchError(f"{str(out)!r} is not a results folder (no 'runs' in it): give what dbench run --out wrote to")
    return sorted((out / "runs").glob(f"*/{name}"))


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """One row per run and score: what was run, on what, and the number."""
    import pandas as pd

    rows = []
    for record in records:
        content, spec = record.content, record.spec
        run = {
            "run_id": spec.run_id,
            "model": spec.model,
            "model_version": spec.model_version,
            "dataset": spec.dataset,
            "dataset_version": spec.dataset_version,
            "protocol": spec.protocol,
            "protocol_version": spec.protocol_version,
            "off_protocol": bool(spec.changed),
            "changed": " ".join(spec.changed),
            "seed": spec.seed,
        }
        for score in record.scores:
            row = {
                "metric": score["metric"],
                "score": f"{score['metric']}.{score['score']}",
                "value": score["value"],
                "higher_is_better": score["higher_is_better"],
                "variant": score["variant"],
                "metric_version": score["version"],
            }
            rows.append(run | row | {"package_version": content["package"]["version"]})
    return pd.DataFrame(rows, columns=None if rows else ["run_id", "model", "dataset", "protocol", "seed", "score"])


def write_results(out: Path) -> Path:
    """(Re)write ``results.csv``, the tidy table of all finished runs in the folder."""
    target = out / "results.csv"
    with atomic_path(target) as temporary:
        tidy(load_records(out)).to_csv(temporary, index=False, lineterminator="\n")
    return target


def write_failure(folder: Path, spec: RunSpec, error: str, details: str, out: Path) -> None:
    """Record that a run failed: one line, the whole traceback, and the command that repeats this one run."""
    content = {
        "schema": SCHEMA,
        "run_id": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "error": error,
        "traceback": details,
        "command": command(spec, out),
    }
    write_json(folder / FAILED, content)


def command(spec: RunSpec, out: Path) -> str:
    """The command that does this one run."""
    words = ["dbench", "run", "--models", spec.model, "--datasets", spec.dataset, "--protocol", spec.protocol]
    words += ["--seeds", f"{spec.seed}-{spec.seed}", "--out", str(out)]
    for change in spec.changed:
        words += ["--set", change]
    return shlex.join(words)
