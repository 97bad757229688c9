"""Score groups of runs that differ only in their seed, comparing their codes of the same images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench import metrics
from disentangle_bench.codes import Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import GROUP_METRICS
from disentangle_bench.scoring.files import load_evaluation
from disentangle_bench.store.files import write_json
from disentangle_bench.store.runs import Record

GROUPS = "groups.json"
SCHEMA = 1


def write_groups(out: Path, records: Iterable[Record]) -> Path | None:
    """Score all groups of at least two runs of a results folder and write ``groups.json``, atomically.

    docs/metrics/groups.md describes the file. Returns its path, or None if there is no group. A run whose codes cannot
    be read, or are of different images than those of the group's first run, is left out and named in the file.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.spec.model_copy(update={"seed": 0}).digest, []).append(record)
    rows = [_group(members) for members in groups.values() if len(members) > 1]
    if not rows:
        return None
    write_json(out / GROUPS, {"schema": SCHEMA, "groups": rows})
    return out / GROUPS


def _group(records: list[Record]) -> dict[str, Any]:
    """Return the entry of one group."""
    records = sorted(records, key=lambda record: record.spec.seed)
    spec = records[0].spec
    used: list[tuple[Record, Evaluation]] = []
    problems: dict[str, str] = {}
    for record in records:
        try:
            evaluation = load_evaluation(record.folder / "codes.npz")
        except BenchError as error:
            problems[record.folder.name] = str(error)
            continue
        if used and not _same_images(used[0][1], evaluation):
            problems[record.folder.name] = f"its codes are of other images than those of {used[0][0].folder.name}"
            continue
        used.append((record, evaluation))
    scores: list[dict[str, Any]] = []
    if len(used) > 1:
        for name in GROUP_METRICS.entries:
            scores += _scores(name, {record.spec.run_id: evaluation.codes.values for record, evaluation in used})
    return {
        **spec.subject,
        "changed": list(spec.changed),
        "seeds": [record.spec.seed for record, _ in used],
        "runs": [record.spec.run_id for record, _ in used],
        "scores": scores,
        "problems": problems,
    }


def _same_images(first: Evaluation, other: Evaluation) -> bool:
    """Return whether two evaluations are of the same images, by positions, or by factors if a file lacks positions."""
    if first.index is not None and other.index is not None:
        return np.array_equal(first.index, other.index)
    return np.array_equal(first.factors, other.factors)


def _scores(name: str, codes: dict[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Return one row per score of a group metric; chance is the score after permuting each run's rows independently."""
    card = GROUP_METRICS.load(name).CARD
    compute = getattr(metrics, name)
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
