"""Repeat a recorded run in a folder beside it, and compare the numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.registry import activate, dataset_class, model_class
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import run_single
from disentangle_bench.store import runs, status
from disentangle_bench.store.merge import copy_plugins

FOLDER = "reproduced"
"""Results folder, inside that of the run, in which the run is done again."""

CLOSE = 0.01
"""Largest difference between two close numbers, as a fraction of the larger one."""


@dataclass(frozen=True)
class Comparison:
    """One score of a run and of its reproduction; ``verdict`` is equal (to the bit), close or different."""

    score: str
    before: float
    after: float
    verdict: str


@dataclass(frozen=True)
class Reproduction:
    """A run that was done again in ``folder``.

    ``training`` says up to where both histories are equal, and ``reasons`` what else differs between the two runs:
    versions, the device, its threads. Such differences explain why numbers may differ; if numbers differ without any,
    that is a fault.
    """

    folder: Path
    comparisons: list[Comparison]
    training: str
    reasons: list[str]

    @property
    def agrees(self) -> bool:
        """Return whether no score is different."""
        return all(row.verdict != "different" for row in self.comparisons)


def reproduce(folder: Path, resources: Resources) -> Reproduction:
    """Do the finished run in ``folder`` again, in ``reproduced`` of its results folder, and compare the two runs.

    An interrupted reproduction is resumed, and a finished one is only compared. Raises ``BenchError`` if there is no
    such run, if its model or dataset now has another version, and if the reproduction fails or is stopped.
    """
    try:
        record = runs.read_record(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BenchError(
            f"there is no finished run in {str(folder)!r}: give a folder such as results/runs/ID"
        ) from error
    if record.spec.external:
        raise BenchError(f"the codes in {str(folder)!r} come from elsewhere: dbench import scores their file again")
    source = folder.resolve().parents[1]
    activate(record.spec, source)
    _check_versions(record)
    out = source / FOLDER
    copy_plugins(source, out)
    status.remember(out, [record.spec])
    kind, text = run_single(record.spec.run_id, out, resources)
    again = runs.run_folder(out, record.spec)
    if kind != "done":
        raise BenchError(
            f"the reproduction in {str(again)!r} {kind} ({text}): give the same command again to resume it"
        )
    return compare(record, runs.read_record(again))


def _check_versions(record: runs.Record) -> None:
    spec = record.spec
    now = {"model": model_class(spec.model).version, "dataset": dataset_class(spec.dataset).card.version}
    for part, version in now.items():
        then = getattr(spec, f"{part}_version")
        if version != then:
            package = one_line(record.content["package"]["version"])
            raise BenchError(
                f"the record is of version {then} of the {part} {getattr(spec, part)!r}, here is version {version}: "
                f"its numbers can be had with disentangle-bench {package} only"
            )


def compare(record: runs.Record, again: runs.Record) -> Reproduction:
    """Compare a run with its reproduction: every score that both have."""
    before, after = _scores(record), _scores(again)
    rows = [Comparison(_title(key), before[key], after[key], _verdict(before[key], after[key]))
            for key in before if key in after]  # fmt: skip
    return Reproduction(again.folder, rows, _training(record.folder, again.folder), list(_reasons(record, again)))


def _scores(record: runs.Record) -> dict[tuple[str, str, str], float]:
    return {(row["metric"], row["score"], row["variant"]): row["value"] for row in record.scores}


def _title(key: tuple[str, str, str]) -> str:
    return one_line(f"{key[0]}.{key[1]} ({key[2]})")


def _verdict(before: float, after: float) -> str:
    if before == after or (math.isnan(before) and math.isnan(after)):
        return "equal"
    return "close" if abs(before - after) <= CLOSE * max(abs(before), abs(after)) else "different"


def _training(first: Path, second: Path) -> str:
    """Return a line that says up to which update the two histories are equal."""
    tables = []
    for folder in (first, second):
        try:
            with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
                tables.append(list(csv.DictReader(file)))
        except (OSError, ValueError, csv.Error):
            return "the histories of training cannot be compared: one is missing or damaged"
    for before, after in zip(*tables, strict=False):
        if before != after:
            return f"training first differs at update {one_line(after.get('step'))}"
    return f"training is equal in all {len(tables[0])} rows of its history"


def _reasons(record: runs.Record, again: runs.Record) -> Iterator[str]:
    parts: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("", record.content.get("environment", {}), again.content.get("environment", {})),
        ("package ", record.content["package"], again.content["package"]),
        ("version of ", _versions(record), _versions(again)),
    ]
    for prefix, before, after in parts:
        for key in before:
            if key in after and before[key] != after[key]:
                yield one_line(f"{prefix}{key}: {before[key]} then, {after[key]} now")


def _versions(record: runs.Record) -> dict[str, int]:
    return {row["metric"]: row["version"] for row in record.scores}
