"""Results folders put together, and runs removed. No torch here."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.store import claims, runs, status


def merge(sources: Sequence[Path], out: Path) -> tuple[list[str], list[str]]:
    """Copy the runs of several results folders into a new or existing one; nothing is ever overwritten.

    All is checked before anything is copied: two finished runs of the same name must have the same scores. Unfinished
    runs are copied only where nothing of that name is, and a run that is finished in one place beats it being
    unfinished in another. Gives the names of the copied runs, and of those that were there already.
    """
    chosen: dict[str, Path] = {}
    for source in (out, *sources) if (out / "runs").is_dir() else sources:
        for problem in runs.read_records(source).problems.values():
            raise BenchError(f"nothing is merged: {problem}")
        for folder in sorted((source / "runs").iterdir()):
            other = chosen.setdefault(folder.name, folder)
            if other is folder or not runs.is_finished(folder):
                continue
            if not runs.is_finished(other):
                if other.parent.parent == out:
                    raise BenchError(f"{other} is unfinished and would be overwritten: finish or remove it first")
                chosen[folder.name] = folder
            elif _scores(other) != _scores(folder):
                raise BenchError(f"{other} and {folder} are the same run with different scores: remove one of them")
    copied = [name for name, folder in chosen.items() if folder.parent.parent != out]
    (out / "runs").mkdir(parents=True, exist_ok=True)
    for name in copied:
        target = out / "runs" / name
        temporary = out / f".{name}.tmp"  # not in runs/, where a merge that is cut off would leave half a run
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(chosen[name], temporary, ignore=shutil.ignore_patterns(claims.LOCK, claims.PROGRESS))
        temporary.rename(target)
    status.remember(out, [spec for source in sources for spec in status.planned(source).values()])
    runs.write_results(out)
    return copied, sorted(set(chosen) - set(copied))


def _scores(folder: Path) -> str:
    rows = runs.read_record(folder).content["scores"]
    return json.dumps(sorted(rows, key=lambda row: (row["metric"], row["variant"], row["score"])), sort_keys=True)


def remove(out: Path, run_ids: Sequence[str]) -> None:
    """Remove runs from a results folder. Raises ``BenchError``, removing none, if one is unknown or being run."""
    begun = {folder.name for folder in (out / "runs").glob("*/")}
    for run_id in run_ids:
        if run_id not in begun:
            raise unknown("run", run_id, begun)
    with contextlib.ExitStack() as held:
        for run_id in run_ids:
            try:
                held.enter_context(claims.claimed(out / "runs" / run_id))
            except claims.Busy as busy:
                raise BenchError(f"the run {run_id!r} cannot be removed, {busy}: stop it first") from busy
        for run_id in run_ids:
            shutil.rmtree(out / "runs" / run_id)
    runs.write_results(out)
