"""Grids of a results folder, and the progress of each of their runs.

Every ``dbench run`` leaves its grid in ``grids/``, compactly: each spec once, and the list of seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from disentangle_bench import __version__
from disentangle_bench.atomic import remove_leftovers
from disentangle_bench.errors import BenchError, one_line, unknown
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import claims, files, runs

FOLDER = "grids"
STALE_SECONDS = 60.0
"""Age in seconds from which a heartbeat counts as stale: twelve beats were missed."""


def remember(out: Path, specs: Sequence[RunSpec]) -> None:
    """Keep a grid in the results folder, so that ``status`` knows what is missing."""
    (out / "runs").mkdir(parents=True, exist_ok=True)
    for folder in (out, out / FOLDER):
        remove_leftovers(folder)
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


def planned(out: Path, problems: list[str] | None = None) -> dict[str, RunSpec]:
    """Return all specs that were ever asked for in a results folder, by run id, and those of other run folders in it.

    Grids and specs that cannot be read are left out; ``problems`` gets a line for each, which names the file.
    """
    lines = [] if problems is None else problems
    specs: dict[str, RunSpec] = {}
    for path in sorted((out / FOLDER).glob("*.json")):
        try:
            # A run that belongs to a search and to another grid keeps the mark of the search.
            own = {spec.run_id: spec for spec in _grid(files.read_json(path))}
            specs |= {run_id: spec for run_id, spec in own.items() if run_id not in specs or spec.search}
        except (OSError, BenchError) as error:
            lines.append(one_line(error))
        except (ValidationError, KeyError, TypeError, ValueError):
            lines.append(one_line(f"{path} is not a valid grid: delete it"))
    for folder in runs.run_folders(out) if (out / "runs").is_dir() else []:
        if folder.name not in specs:
            try:
                specs[folder.name] = RunSpec.model_validate(files.read_json(folder / runs.SPEC)["spec"])
            except FileNotFoundError:
                continue
            except (OSError, BenchError) as error:
                lines.append(one_line(error))
            except (ValidationError, KeyError, TypeError):
                lines.append(one_line(f"{folder / runs.SPEC} is not a valid spec: delete it and run again"))
    return specs


def _grid(content: dict[str, Any]) -> Iterator[RunSpec]:
    for row in content["specs"]:
        base = RunSpec.model_validate(row["spec"])
        for seed in row["seeds"]:
            if type(seed) is not int or not 0 <= seed < 2**63:
                raise ValueError(seed)
            yield base.model_copy(update={"seed": seed})


@dataclass(frozen=True)
class State:
    """Progress of a run, and a line about it.

    ``state`` is done, running, failed, stopped (it has begun and can be resumed), missing, or damaged (its record
    cannot be used, so it is done again). ``spec`` is None where no file says what was run. ``seconds`` is the time that
    a finished run took or a running one still needs, None where unknown.
    """

    spec: RunSpec | None
    run_id: str
    state: str
    detail: str = ""
    seconds: float | None = None


STATES = ("done", "running", "failed", "stopped", "missing", "damaged")
PENDING = ("running", "stopped", "missing", "damaged")
"""States of runs that are still to be done."""


def states(out: Path, problems: list[str] | None = None) -> list[State]:
    """Return the state of every run of a results folder, in the order in which they were asked for.

    ``problems`` gets a line for each file that cannot be read and belongs to no run. Raises ``BenchError`` if the
    folder is missing or was not made by ``dbench run``.
    """
    records = runs.read_records(out)
    finished = {record.folder.name: record for record in records.records}
    specs: dict[str, RunSpec | None] = dict(planned(out, problems))
    begun = [folder.name for folder in runs.run_folders(out)]
    for name in begun:
        if name not in specs:
            specs[name] = finished[name].spec if name in finished else None
    rows, present = [], set(begun)
    for run_id, spec in specs.items():
        if run_id in finished:
            rows.append(_done(finished[run_id]))
        elif run_id not in present:
            rows.append(State(spec, run_id, "missing"))
        else:
            rows.append(_unfinished(spec, run_id, out / "runs" / run_id, records.problems.get(run_id)))
    return rows


def _done(record: runs.Record) -> State:
    version = record.content["package"]["version"]
    detail = "" if version == __version__ else one_line(f"made by version {version}")
    times = record.content.get("seconds", {})
    seconds = sum(times.get("metrics", {}).values()) + (times.get("training") or 0) + (times.get("encoding") or 0)
    return State(record.spec, record.folder.name, "done", detail, seconds or None)


def _unfinished(spec: RunSpec | None, run_id: str, folder: Path, problem: str | None) -> State:
    if claims.is_claimed(folder):
        progress = claims.read_progress(folder)
        # A heartbeat from the future was written before the clock was set back.
        if not progress or abs(progress["age"]) >= STALE_SECONDS:
            return State(spec, run_id, "running", "no news yet" if not progress else "no news for over a minute")
        left = progress["seconds_left"]
        detail = f"{progress['phase']} {progress['done']}/{progress['total']}"
        detail += "" if left is None else f", {duration(left)} left"
        return State(spec, run_id, "running", one_line(f"{detail} ({progress['host']})"), left)
    if problem is not None:
        return State(spec, run_id, "damaged", problem)
    if runs.has_failed(folder):
        return State(spec, run_id, "failed", one_line(runs.read_failure(folder)["error"]))
    return State(spec, run_id, "stopped", "the same dbench run resumes it" if spec else "no file says what was run")


@dataclass(frozen=True)
class Selection:
    """Choice among the runs of a results folder: those that match everything that is given.

    ``patterns`` are run ids, and ``models``, ``datasets`` and ``protocols`` are names; all may contain ``*``, ``?`` and
    ``[...]``. If ``failed``, only failed runs match.
    """

    patterns: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    failed: bool = False

    def of(self, rows: Sequence[State]) -> list[State]:
        """Return the rows that match. Raises ``BenchError`` for a run, model, dataset or protocol that has none."""
        matching = [row for row in rows if row.state == "failed"] if self.failed else list(rows)
        matching = _fitting("run", self.patterns, matching, lambda row: row.run_id)
        files = tuple(word.rpartition("/")[2] for word in self.datasets)  # a file is known by its name alone
        matching = _fitting("model", self.models, matching, lambda row: row.spec.model if row.spec else "")
        matching = _fitting("dataset", files, matching, lambda row: row.spec.dataset_name if row.spec else "")
        return _fitting("protocol", self.protocols, matching, lambda row: row.spec.protocol if row.spec else "")


def _fitting(kind: str, patterns: Sequence[str], rows: list[State], name: Any) -> list[State]:
    names = [name(row) for row in rows]
    for word in patterns:
        if not any(fnmatchcase(each, word) for each in names):
            raise unknown(kind, word, {each for each in names if each})
    return [
        row
        for row, each in zip(rows, names, strict=True)
        if not patterns or any(fnmatchcase(each, w) for w in patterns)
    ]


@dataclass(frozen=True)
class Pace:
    """Speed of a grid: runs per hour at present, and seconds until all of it is done; None where nothing is known."""

    runs_per_hour: float | None
    seconds_left: float | None


def pace(rows: Sequence[State]) -> Pace:
    """Estimate the speed of a grid from the times of finished runs of the same kind and the runs in progress."""
    took: dict[Any, list[float]] = {}
    for row in rows:
        if row.state == "done" and row.seconds and row.spec:
            for key in ((row.spec.dataset_name, row.spec.protocol, row.spec.model), None):
                took.setdefault(key, []).append(row.seconds)
    active = sum(row.state == "running" for row in rows)
    if not took or not active:
        return Pace(None, None)
    expected, left = [], 0.0
    for row in rows:
        if row.state in PENDING and row.spec:
            same = took.get((row.spec.dataset_name, row.spec.protocol, row.spec.model), took[None])
            expected.append(fmean(same))
            left += row.seconds if row.state == "running" and row.seconds is not None else expected[-1]
    return Pace(3600 * active / fmean(expected) if expected else None, left / active)


def counts(rows: Sequence[State]) -> dict[str, int]:
    """Return how many runs are in each state; damaged ones are listed only if there are any."""
    table = {name: sum(row.state == name for row in rows) for name in STATES}
    return {name: count for name, count in table.items() if count or name != "damaged"}


def by_model(rows: Sequence[State]) -> dict[tuple[str, str, str], dict[str, int]]:
    """Return the counts of each dataset, protocol and model, in the order in which they were asked for."""
    groups: dict[tuple[str, str, str], list[State]] = {}
    for row in rows:
        if row.spec:
            groups.setdefault((row.spec.dataset_name, row.spec.protocol, row.spec.model), []).append(row)
    return {key: {name: sum(row.state == name for row in group) for name in STATES} for key, group in groups.items()}


def as_json(rows: Sequence[State]) -> dict[str, Any]:
    """Return what ``dbench status --json`` prints: counts, speed, a table by model, and all runs."""
    speed = pace(rows)
    parts = ("dataset", "protocol", "model")
    return {
        "schema": files.SCHEMA,
        "counts": {name: sum(row.state == name for row in rows) for name in STATES},
        "runs_per_hour": speed.runs_per_hour,
        "seconds_left": speed.seconds_left,
        "table": [dict(zip(parts, key, strict=True)) | table for key, table in by_model(rows).items()],
        "runs": [
            {"run_id": row.run_id, "state": row.state, "detail": row.detail}
            | {part: getattr(row.spec, part, None) for part in (*parts, "seed")}
            for row in rows
        ],
    }


def duration(seconds: float) -> str:
    """Return seconds as readable text: ``42 s``, ``7 min``, ``3.5 h``, ``2.1 days``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
