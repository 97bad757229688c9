"""Score groups of runs that differ only in their seed, comparing their codes of the same images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from disentangle_bench.codes import Evaluation
from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.registry import GROUP_METRICS
from disentangle_bench.scoring.files import load_evaluation
from disentangle_bench.spec import digest_of
from disentangle_bench.store.files import read_json, write_json
from disentangle_bench.store.runs import Record

GROUPS = "groups.json"
SCHEMA = 1
CODES = "codes.npz"


def write_groups(
    out: Path, records: Iterable[Record], *, anew: bool = True, say: Callable[[str], None] = lambda line: None
) -> Path | None:
    """Score all groups of at least two runs of a results folder and write ``groups.json``, atomically.

    docs/metrics/groups.md describes the file. Returns its path, or None if there is no group. A run whose codes cannot
    be read, or are of different images than those of the group's first run, is left out and named in the file. A group
    keeps its scores if fewer of its runs can be compared than before, since codes may have been deleted.

    Without ``anew``, only groups are scored that are not in the file, or whose runs or codes have changed. A file that
    cannot be read is then left as it is, and so is one without any codes beside it. ``say`` is called with a line of
    text before each group is scored.
    """
    records, path = list(records), out / GROUPS
    if not anew and not any(os.path.isfile(f"{record.folder}/{CODES}") for record in records):
        return None
    try:
        stored = _stored(path)
    except BenchError:
        if not anew:
            return None  # the report names it
        stored = []
    by_members = {tuple(row["members"]): row for row in stored}
    rows = []
    for members in _groups(records):
        row = by_members.get(tuple(record.spec.run_id for record in members))
        if anew or row is None or row["made_from"] != _origin(members):
            say(f"comparing the seeds of {one_line(members[0].spec.model)}")
            scored = _group(members)
            row = scored if row is None or len(scored["runs"]) >= len(row["runs"]) else row
        rows.append(row)
    if not rows:
        path.unlink(missing_ok=True)
        return None
    if rows != stored:
        write_json(path, {"schema": SCHEMA, "groups": rows})
    return path


_LISTS = {"members": str, "runs": str, "scores": dict}


def _stored(path: Path) -> list[dict[str, Any]]:
    """Return the groups in a ``groups.json``, none if there is no such file; raise ``BenchError`` if it is damaged."""
    try:
        rows = read_json(path).get("groups")
    except FileNotFoundError:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BenchError(f"{path} has no list of groups: run dbench score to write it anew")
    return [row for row in rows if "made_from" in row and all(_is_list(row.get(key), of) for key, of in _LISTS.items())]


def _is_list(value: Any, of: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, of) for item in value)


def _groups(records: Iterable[Record]) -> list[list[Record]]:
    """Return the groups of at least two runs that differ only in their seed, each sorted by seed."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.spec.model_copy(update={"seed": 0}).digest, []).append(record)
    several = [members for members in groups.values() if len(members) > 1]
    return [sorted(members, key=lambda record: record.spec.seed) for members in several]


def _origin(members: list[Record]) -> str:
    """Return a digest of what the scores of a group depend on: the runs, their codes, and the metrics' versions."""
    cards = {name: GROUP_METRICS.load(name).CARD for name in GROUP_METRICS.entries}
    versions = {name: card.version_of(card.default_variant) for name, card in cards.items()}
    runs = [
        [each.spec.run_id, each.content.get("files", {}).get(CODES), _size(each.folder / CODES)] for each in members
    ]
    return digest_of([versions, runs])


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _group(records: list[Record]) -> dict[str, Any]:
    """Return the entry of one group, whose runs are sorted by seed."""
    spec = records[0].spec
    used: list[tuple[Record, Evaluation]] = []
    problems: dict[str, str] = {}
    for record in records:
        try:
            evaluation = load_evaluation(record.folder / CODES)
        except BenchError as error:
            # The file must not depend on how the results folder was spelled.
            problems[record.folder.name] = one_line(error).replace(str(record.folder), record.folder.name)
            continue
        if used and not _same_images(used[0][1], evaluation):
            problems[record.folder.name] = f"its codes are of other images than those of {used[0][0].folder.name}"
            continue
        if used and evaluation.codes.values.shape != used[0][1].codes.values.shape:
            problems[record.folder.name] = f"its codes have another shape than those of {used[0][0].folder.name}"
            continue
        used.append((record, evaluation))
    scores: list[dict[str, Any]] = []
    if len(used) > 1:
        codes = {record.spec.run_id: evaluation.codes.values for record, evaluation in used}
        for name in GROUP_METRICS.entries:
            try:
                with threadpool_limits(1):  # sums of other numbers of threads are rounded otherwise
                    scores += _scores(name, codes)
            except BenchError as error:
                problems[name] = one_line(error)
    return {
        **spec.subject,
        "changed": list(spec.changed),
        "seeds": [record.spec.seed for record, _ in used],
        "runs": [record.spec.run_id for record, _ in used],
        "scores": scores,
        "problems": problems,
        "members": [record.spec.run_id for record in records],
        "made_from": _origin(records),
    }


def _same_images(first: Evaluation, other: Evaluation) -> bool:
    """Return whether two evaluations are of the same images, by positions, or by factors if a file lacks positions."""
    if first.index is not None and other.index is not None:
        return np.array_equal(first.index, other.index)
    return np.array_equal(first.factors, other.factors)


def _scores(name: str, codes: dict[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Return one row per score of a group metric; chance is the score after permuting each run's rows independently."""
    module = GROUP_METRICS.load(name)
    card, compute = module.CARD, getattr(module, name)
    result = compute(list(codes.values()))
    rng = np.random.default_rng(2026)
    chance = compute([values[rng.permutation(len(values))] for values in codes.values()])
    return [
        {
            "metric": name,
            "score": score.name,
            "value": result.scores[score.name],
            "chance": chance.scores[score.name],
            "by_run": dict(zip(codes, result["by_run"].tolist(), strict=True)) if "by_run" in result.arrays else {},
            "higher_is_better": score.higher_is_better,
            "ranked": score.ranked,
            "unit": score.unit,
            "variant": card.default_variant,
            "version": card.version_of(card.default_variant),
            "paper": card.paper,
        }
        for score in card.scores
    ]
