"""Run folders and their records: JSON per run, written whole or not at all, loaded many at a time. No torch here.

A results folder holds ``runs/<run_id>/`` for every run and the tables made from them. A run's folder holds
``record.json`` (the run is finished) or ``failed.json`` (it failed), and beside it what is needed to resume
(``checkpoint.pt``), to score again (``codes.npz``) and to draw again (``history.csv``, ``matrices.npz``,
``pictures.npz``, ``model.safetensors``).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from disentangle_bench.atomic import atomic_path, write_text
from disentangle_bench.errors import BenchError
from disentangle_bench.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Of ``record.json`` and ``failed.json``; a change of their shape bumps it."""

RECORD, FAILED, SPEC, PROGRESS, LOCK = "record.json", "failed.json", "spec.json", "progress.json", "run.lock"
BEAT_SECONDS = 5.0


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


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically; NaN and infinity, which JSON does not have, become null."""
    write_text(path, json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the suite's JSON files; a damaged or foreign one is a ``BenchError`` that names it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read as JSON ({error}): delete it and run again") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise BenchError(f"{path} is not a file of this suite (it has no 'schema'): point to a folder dbench run made")
    if content["schema"] > SCHEMA:
        raise BenchError(
            f"{path} has schema {content['schema']}, this version reads up to {SCHEMA}: upgrade disentangle-bench"
        )
    return content


class Busy(Exception):
    """Another process is doing this run."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run: no other process, also on another machine that shares the file system, can do it meanwhile.

    The lock is the kernel's (flock), so it ends with the process that holds it, however that dies. Raises ``Busy``
    if it is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        holder = read_progress(folder)
        where = f" (process {holder['pid']} on {holder['host']})" if holder else ""
        raise Busy(f"another process is running it{where}") from None
    try:
        yield
    finally:
        lock.release()


class Heartbeat:
    """Keeps ``progress.json`` in a run's folder up to date for ``dbench status``, and removes it at the end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROGRESS
        self._phase = ""
        self._began = self._written = 0.0
        self._first = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.path.unlink(missing_ok=True)

    def beat(self, phase: str, done: int, total: int) -> None:
        """Note how far the run is; written every few seconds."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._first = phase, now, done
        elif now - self._written < BEAT_SECONDS:
            return
        self._written = now
        steps = done - self._first
        left = (now - self._began) * (total - done) / steps if steps > 0 else None
        content = {
            "schema": SCHEMA,
            "phase": phase,
            "done": done,
            "total": total,
            "seconds_left": left,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        # A full disk must not end the run here: the checkpoint will say so if it matters.
        with contextlib.suppress(OSError):
            write_json(self.path, content)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """What a run's heartbeat said last, with its age in seconds by the file system's own clock; None without one."""
    path = folder / PROGRESS
    try:
        content, written = read_json(path), path.stat().st_mtime
    except (OSError, BenchError):
        return None
    now = time.time()
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    return content | {"age": now - written}


def check_target(path: Path) -> None:
    """Raise ``BenchError`` if the file ``path`` could not be written, before the work whose result it is to hold."""
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
        raise BenchError(f"--out {str(path)!r} {problem}: give a file in a folder that exists")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BenchError(f"--out {str(path)!r} cannot be written ({error.strerror}): give another place") from error


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


def load_failures(out: Path) -> list[dict[str, Any]]:
    """What ``failed.json`` says of each failed run of a results folder."""
    return [read_json(path) for path in _files(out, FAILED)]


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
