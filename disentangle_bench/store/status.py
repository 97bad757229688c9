"""What was asked for, and how far it is: grids of a results folder, and the state of each of their runs. No torch here.

Every ``dbench run`` leaves its grid in ``grids/``, compactly: each spec once, and the list of seeds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from disentangle_bench import __version__
from disentangle_bench.errors import BenchError
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import claims, files, runs

FOLDER = "grids"
STALE_SECONDS = 60.0
"""A run whose heartbeat is older than this is not running any more: twelve beats were missed."""


def remember(out: Path, specs: Sequence[RunSpec]) -> None:
    """Keep a grid in the results folder, so that ``status`` knows what is missing."""
    (out / "runs").mkdir(parents=True, exist_ok=True)
    seeds: dict[str, list[int]] = {}
    bases: dict[str, dict[str, object]] = {}
    for spec in specs:
        base = spec.model_copy(update={"seed": 0})
        key = base.model_dump_json()
        bases.setdefault(key, base.model_dump(mode="json"))
        seeds.setdefault(key, []).append(spec.seed)
    content = {"schema": files.SCHEMA, "specs": [{"spec": bases[key], "seeds": seeds[key]} for key in bases]}
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    path = out / FOLDER / f"{name}.json"
    if not path.exists():
        files.write_json(path, content)


def planned(out: Path) -> dict[str, RunSpec]:
    """All specs that were ever asked for in a results folder, by run id, and those of other run folders in it."""
    found: dict[str, RunSpec] = {}
    for path in sorted((out / FOLDER).glob("*.json")):
        for row in files.read_json(path)["specs"]:
            base = RunSpec.model_validate(row["spec"])
            for seed in row["seeds"]:
                spec = base.model_copy(update={"seed": seed})
                found[spec.run_id] = spec
    for folder in sorted((out / "runs").iterdir()) if (out / "runs").is_dir() else []:
        if folder.name not in found and (folder / runs.SPEC).exists():
            found[folder.name] = RunSpec.model_validate(files.read_json(folder / runs.SPEC)["spec"])
    return found


@dataclass(frozen=True)
class State:
    """How far a run is: done, running, failed, stopped (it has begun and can go on) or missing; and a line on it."""

    spec: RunSpec
    run_id: str
    state: str
    detail: str = ""


STATES = ("done", "running", "failed", "stopped", "missing")


def states(out: Path) -> Iterator[State]:
    """The state of every run of a results folder, in the order in which they were asked for.

    Raises ``BenchError`` if the folder is missing or was not made by ``dbench run``.
    """
    if not (out / "runs").is_dir():
        raise BenchError(f"{str(out)!r} is not a results folder (no 'runs' in it): give what dbench run --out wrote to")
    # One listing instead of a look into each of thousands of folders that may not exist.
    begun = {entry.name for entry in os.scandir(out / "runs")}
    for run_id, spec in planned(out).items():
        folder = out / "runs" / run_id
        if run_id not in begun:
            yield State(spec, run_id, "missing")
        elif runs.is_finished(folder):
            version = files.read_json(folder / runs.RECORD)["package"]["version"]
            yield State(spec, run_id, "done", "" if version == __version__ else f"made by version {version}")
        else:
            yield _unfinished(spec, run_id, folder)


def _unfinished(spec: RunSpec, run_id: str, folder: Path) -> State:
    progress = claims.read_progress(folder)
    # A beat from the future was written before the clock was set back.
    if progress and abs(progress["age"]) < STALE_SECONDS:
        left = "" if progress["seconds_left"] is None else f", {duration(progress['seconds_left'])} left"
        count = f"{progress['phase']} {progress['done']}/{progress['total']}"
        return State(spec, run_id, "running", f"{count}{left} ({progress['host']})")
    if runs.has_failed(folder):
        return State(spec, run_id, "failed", files.read_json(folder / runs.FAILED)["error"])
    return State(spec, run_id, "stopped", "the same dbench run goes on with it")


def duration(seconds: float) -> str:
    """Seconds for people: ``42 s``, ``7 min``, ``3.5 h``, ``2.1 days``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
