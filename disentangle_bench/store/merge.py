"""Merge results folders, and remove runs from them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from disentangle_bench import plugins
from disentangle_bench.atomic import atomic_path
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.store import claims, runs, status
from disentangle_bench.store.status import Selection

MERGE_LOCK = ".merge.lock"
TEMPORARY = ".merging-"
REMOVED = ".removed-"
"""Prefixes of hidden folders: for a run that is being copied, and for one that is being removed."""


@dataclass
class Merged:
    """Names of the runs that were copied, those that were there before, and those that another process is doing."""

    copied: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], out: Path, selection: Selection | None = None) -> Merged:
    """Copy the runs of several results folders into a new or existing one; nothing is ever overwritten.

    Everything is checked before anything is copied: two finished runs of the same name must have the same scores, and
    every record must be usable. An unfinished run is copied only if ``out`` has none of that name, and a run that is
    finished in one source takes precedence over the same run unfinished in another. Runs that a process is doing are
    left out, and so are links, which are never followed. Raises ``BenchError`` in all other cases, and if the disk is
    full; runs copied until then stay.
    """
    folders = _choose(sources, out, selection)
    result = Merged(kept=sorted(name for name, folder in folders.items() if folder.parent.parent == out))
    (out / "runs").mkdir(parents=True, exist_ok=True)
    with _only_merge(out):
        for folder in folders.values():
            if folder.parent.parent != out:
                _copy_run(folder, out, result)
        for source in sources:
            copy_plugins(source, out)
    asked = {name: spec for source in sources for name, spec in status.planned(source).items()}
    status.remember(out, [spec for name, spec in asked.items() if selection is None or name in folders])
    runs.write_results(out)
    return result


def _choose(sources: Sequence[Path], out: Path, selection: Selection | None) -> dict[str, Path]:
    """Return the folder to copy each run from, by the run's name."""
    selected: set[str] | None = None
    if selection is not None:
        selected = {row.run_id for row in selection.of([row for source in sources for row in status.states(source)])}
    folders: dict[str, Path] = {}
    finished: dict[Path, runs.Record] = {}
    for source in (out, *sources) if (out / "runs").is_dir() else sources:
        records = runs.read_records(source)
        names = {folder.name for folder in runs.run_folders(source) if not folder.is_symlink()}
        names = names if selected is None or source == out else names & selected
        for name in sorted(names & set(records.problems)):
            raise BenchError(f"nothing is merged: {records.problems[name]}")
        finished |= {record.folder: record for record in records.records}
        for name in sorted(names):
            folder, other = source / "runs" / name, folders.setdefault(name, source / "runs" / name)
            if other == folder or folder not in finished:
                continue
            if other not in finished:
                if other.parent.parent == out:
                    raise BenchError(f"{other} is unfinished and would be overwritten: finish or remove it first")
                folders[name] = folder
            elif _scores(finished[other]) != _scores(finished[folder]):
                raise BenchError(f"{other} and {folder} are the same run with different scores: remove one of them")
    return folders


def _scores(record: runs.Record) -> str:
    rows = record.content["scores"]
    return json.dumps(sorted(rows, key=lambda row: (row["metric"], row["variant"], row["score"])), sort_keys=True)


@contextmanager
def _only_merge(out: Path) -> Iterator[None]:
    """Lock the results folder against other merges, and remove what a killed one left in it."""
    lock = FileLock(out / MERGE_LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise BenchError(f"another merge writes into {str(out)!r}: wait until it has ended") from None
    try:
        for folder in out.glob(f"{TEMPORARY}*"):
            shutil.rmtree(folder, ignore_errors=True)
        yield
    finally:
        lock.release()


def _copy_run(folder: Path, out: Path, result: Merged) -> None:
    """Copy a run that no process is doing, whole or not at all."""
    temporary = out / f"{TEMPORARY}{folder.name}"  # not in runs/, where a merge that is killed would leave half a run
    target = out / "runs" / folder.name
    with contextlib.ExitStack() as held:
        if (folder / claims.LOCK).is_file() and os.access(folder / claims.LOCK, os.W_OK):
            try:
                held.enter_context(claims.claimed(folder))
            except claims.Busy:
                result.busy.append(folder.name)
                return
        try:
            _copy(folder, temporary)
            if target.exists():  # another process has begun it meanwhile
                result.kept.append(folder.name)
                return
            temporary.rename(target)
        except OSError as error:
            raise BenchError(
                f"{folder} cannot be copied to {out} ({error.strerror}): what was copied until then stays. Make room "
                "or see to permissions, and give the same command again"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    result.copied.append(folder.name)


def copy_plugins(source: Path, out: Path) -> None:
    """Copy the files of plug-ins and protocols that runs need into another results folder, unless they are there."""
    for path in sorted(path for form in ("*.py", "*.toml") for path in (source / plugins.FOLDER).glob(form)):
        target = out / plugins.FOLDER / path.name  # named by digest, so files of the same name are equal
        if path.is_file() and not path.is_symlink() and not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's files and folders; not links, FIFOs and the like, nor files that only its process needs."""
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _copy(Path(entry.path), target / entry.name)
            elif entry.is_file(follow_symlinks=False) and not _is_temporary(entry.name):
                shutil.copy2(entry.path, target / entry.name, follow_symlinks=False)


def _is_temporary(name: str) -> bool:
    return name in (claims.LOCK, claims.PROGRESS) or (name.startswith(".") and ".tmp" in name)


def remove(out: Path, names: Sequence[str]) -> None:
    """Remove runs from a results folder for good, each in one step, whatever is in its folder.

    Raises ``BenchError``, removing none, if one is unknown or being run.
    """
    begun = {folder.name for folder in runs.run_folders(out)}
    for name in names:
        if name not in begun:
            raise unknown("run", name, begun)
    hidden = []
    with contextlib.ExitStack() as held:
        for name in names:
            try:
                if not (out / "runs" / name).is_symlink():
                    held.enter_context(claims.claimed(out / "runs" / name))
            except claims.Busy as busy:
                raise BenchError(f"the run {name!r} cannot be removed, {busy}: stop it first") from busy
        for name in names:  # so that a command killed while removing files leaves no run with some of them
            hidden.append(out / "runs" / f"{REMOVED}{uuid.uuid4().hex}")
            (out / "runs" / name).rename(hidden[-1])
    for folder in (out / "runs").glob(f"{REMOVED}*"):
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=folder not in hidden)
    runs.write_results(out)
