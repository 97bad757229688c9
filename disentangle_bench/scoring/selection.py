"""Select among the points of a search without test images, by validation images or by the training loss."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np

from disentangle_bench import metrics
from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.config.search import Selected, base_changes, space, write_selection
from disentangle_bench.cores import limited
from disentangle_bench.data.dataset import Index
from disentangle_bench.errors import BenchError, listed, unknown
from disentangle_bench.registry import activate, dataset_class, metric_module
from disentangle_bench.scoring.files import load_evaluation
from disentangle_bench.spec import RunSpec, Tuning
from disentangle_bench.store import runs, status
from disentangle_bench.training.batches import split

FOLDER = "selected"
LABELLED = 1_000
"""Largest number of labelled validation images that a criterion may use."""


@dataclass(frozen=True)
class Criterion:
    """A number to select by: whether higher is better, what it needs, and how it is computed from a point's runs."""

    higher_is_better: bool
    needs: str
    value: Callable[[Sequence[runs.Record]], float]


@dataclass(frozen=True)
class Trials:
    """All runs of one model's search in one table.

    ``finished`` has the runs of each point, in the order of their seeds, and leaves out points with a failed run.
    ``missing`` is the number of runs still to do.
    """

    spec: RunSpec
    budget: int
    seeds: tuple[int, ...]
    finished: dict[int, list[runs.Record]]
    missing: int


def trials(out: Path, sampler: str | None = None, seed: int | None = None) -> list[Trials]:
    """Return the searches of a results folder, one for each model, dataset, protocol and set of further changes.

    ``sampler`` and ``seed`` choose one of several searches. Raises ``BenchError`` if there is no search, or if they
    leave several to choose from.
    """
    records = {record.folder.name: record for record in runs.load_records(out)}
    specs = {name: spec for name, spec in status.planned(out).items() if spec.search}
    if not specs:
        raise BenchError(f"{str(out)!r} holds no search: dbench run --search makes one")
    every = {(one.sampler, one.seed) for one in (spec.search for spec in specs.values()) if one and one.point}
    kinds = {kind for kind in every if sampler in (None, kind[0]) and seed in (None, kind[1])}
    if every and len(kinds) != 1:
        names = listed(f"--sampler {one} --search-seed {number}" for one, number in every)
        raise BenchError(f"{len(kinds)} searches in {str(out)!r} are meant: name one of {names}")
    groups: dict[tuple, dict[tuple[int, int], str]] = {}
    for name, spec in specs.items():
        assert spec.search
        # The default belongs to every search, no matter for which one it was run.
        if not spec.search.point or (spec.search.sampler, spec.search.seed) in kinds:
            activate(spec, out)
            name_of_dataset = spec.dataset.rpartition("/")[2]  # a file counts by name and content
            table = name_of_dataset, spec.dataset_version, spec.protocol, spec.protocol_version
            key = (*table, spec.model, spec.model_version, spec.search.space_version, base_changes(spec))
            groups.setdefault(key, {})[spec.search.point, spec.seed] = name
    return [_trials(out, run_ids, specs, records) for run_ids in groups.values()]


def _trials(
    out: Path, run_ids: dict[tuple[int, int], str], specs: dict[str, RunSpec], records: dict[str, runs.Record]
) -> Trials:
    """Return the trials of one search from its ``run_ids`` by point and seed, and their specs and records."""
    budget = 1 + max(point for point, _ in run_ids)
    # The default may have additional seeds from another search.
    seeds = tuple(sorted({seed for point, seed in run_ids if point or budget == 1}))
    finished: dict[int, list[runs.Record]] = {}
    missing = 0
    for point in range(budget):
        own = [run_ids.get((point, seed), "") for seed in seeds]
        if all(run_id in records for run_id in own):
            finished[point] = [records[run_id] for run_id in own]
        missing += sum(
            run_id not in records and not (run_id and runs.has_failed(out / "runs" / run_id)) for run_id in own
        )
    return Trials(specs[run_ids[max(run_ids)]], budget, seeds, finished, missing)


@lru_cache(maxsize=4)
def _validation_images(n: int) -> Index:
    return split(n).validation


def check_disjoint(record: runs.Record) -> None:
    """Raise ``BenchError`` unless all codes of a search's run are of validation images."""
    spec, evaluation = record.spec, load_evaluation(runs.check_file(record, "codes.npz"))
    validation = _validation_images(dataset_class(spec.dataset).card.n)
    if evaluation.index is None or spec.scoring.images != "validation":
        raise BenchError(f"{record.folder.name} does not say that its codes are of validation images: do it again")
    if leaked := int(np.isin(evaluation.index, validation, invert=True).sum()):
        raise BenchError(
            f"{leaked} codes of {record.folder.name} are of images outside the validation split: nothing can be "
            "selected by them; remove the run and do it again"
        )


def select(
    folder: str | PathLike[str], by: str, sampler: str | None = None, search_seed: int | None = None
) -> tuple[Path, list[Selected]]:
    """Select settings for each model among the points of a search; return the file written and its content as a list.

    ``folder`` is the results folder of the search. ``by`` is ``"mse"``, ``"loss"`` (the model's own) or ``"udr"``
    (needs several seeds), which use no labels, or ``"dci.disentanglement"`` (uses the labels of 1,000 validation
    images). If the folder holds several searches, ``sampler`` and ``search_seed`` choose one. The file is
    ``selected/<by>.toml`` in the folder. Pass it to ``run`` as ``settings``, with seeds that the search did not use. No
    test image is used. UDR is that of Duan et al. 2020.

    Raises ``BenchError`` for an unfinished search, budgets that differ, a criterion that lacks what it needs, and runs
    with codes of images outside the validation split.
    """
    out = Path(folder)
    if by not in CRITERIA:
        raise unknown("criterion", by, CRITERIA)
    searched = trials(out, sampler, search_seed)
    if missing := sum(one.missing for one in searched):
        raise BenchError(f"{missing} runs of the search are not finished: give the same dbench run --search again")
    if len({one.budget for one in searched}) > 1:
        budgets = listed(f"{one.spec.model} {one.budget}" for one in searched)
        raise BenchError(f"the budgets differ ({budgets}): run the same --search for all models")
    selected = [_select(one, by) for one in searched]
    path = out / FOLDER / f"{by}.toml"
    remarks = (
        f"Settings that dbench select chose by {by} on validation images; dbench run --settings takes this file.",
        f"{by} needs {CRITERIA[by].needs}.",
    )
    write_selection(path, selected, remarks)
    return path, selected


def values(searched: Trials, by: str) -> dict[int, float]:
    """Return the criterion's value for each point whose runs are all finished, where it is defined."""
    for own in searched.finished.values():
        for record in own:
            check_disjoint(record)
    numbers = {point: CRITERIA[by].value(own) for point, own in searched.finished.items()}
    return {point: value for point, value in numbers.items() if math.isfinite(value)}


def _select(searched: Trials, by: str) -> Selected:
    numbers = values(searched, by)
    if not numbers:
        raise BenchError(f"{by} is defined for no point of {searched.spec.model} on {searched.spec.dataset}")
    sign = -1 if CRITERIA[by].higher_is_better else 1
    best = min(numbers, key=lambda point: (sign * numbers[point], point))
    spec = searched.finished[best][0].spec
    first = searched.spec.search
    assert first
    content = {name: getattr(spec, name) for name in Selected.model_fields if name in RunSpec.model_fields}
    content |= {
        "changed": base_changes(spec),
        "tuned": Tuning(criterion=by, budget=searched.budget, sampler=first.sampler, space_version=first.space_version),
        "point": best,
        "search_seed": first.seed,
        "seeds": searched.seeds,
        "value": numbers[best],
        "settings": {key: spec.settings[key] for key in space(spec.model)} if best else {},
    }
    return Selected.model_validate(content)


def _mse(own: Sequence[runs.Record]) -> float:
    return float(np.mean([_recorded(record, "mse", "mse") for record in own]))


def _recorded(record: runs.Record, metric: str, score: str) -> float:
    numbers = [row["value"] for row in record.scores if (row["metric"], row["score"]) == (metric, score)]
    if not numbers:
        raise BenchError(f"{record.folder.name} has no score {metric}.{score}: dbench score RESULTS --metrics {metric}")
    return float(numbers[0])


def _loss(own: Sequence[runs.Record]) -> float:
    """Return the mean loss of the first player, on training images, over the last tenth of training."""
    means = []
    for record in own:
        path = record.folder / "history.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            key = next(name for name in rows[0] if name.startswith("loss."))
            means.append(np.mean([float(row[key]) for row in rows[-max(1, len(rows) // 10) :]]))
        except (OSError, ValueError, TypeError, LookupError, StopIteration, csv.Error) as error:
            raise BenchError(f"{path} has no losses that can be read: do the run again with --rerun all") from error
    return float(np.mean(means))


def _udr(own: Sequence[runs.Record]) -> float:
    if len(own) < 2:
        raise BenchError("udr compares runs of different seeds: give dbench run --search two --seeds or more")
    with limited(1):
        codes = [load_evaluation(record.folder / "codes.npz").codes.values for record in own]
        return float(metrics.udr(codes).scores["score"])


def _disentanglement(own: Sequence[runs.Record]) -> float:
    scores = []
    for record in own:
        evaluation = labelled(load_evaluation(record.folder / "codes.npz"))
        variant = record.spec.scoring.metrics.get("dci", metric_module("dci").CARD.default_variant)
        with limited(1):
            scores.append(metric_module("dci").score(evaluation, variant=variant, rng=0).scores["disentanglement"])
    return float(np.mean(scores))


def labelled(evaluation: Evaluation) -> Evaluation:
    """Return the first ``LABELLED`` images of an evaluation; the share of rows that fit predictors does not change."""
    n = min(LABELLED, len(evaluation.factors))
    codes, indices = evaluation.codes.values[:n], evaluation.codes.indices
    return dataclasses.replace(
        evaluation,
        codes=Codes(codes, None if indices is None else indices[:n]),
        factors=evaluation.factors[:n],
        n_train=n * evaluation.n_train // len(evaluation.factors),
        squared_error=None if evaluation.squared_error is None else evaluation.squared_error[:n],
        index=None if evaluation.index is None else evaluation.index[:n],
    )


CRITERIA = {
    "mse": Criterion(False, "no labels", _mse),
    "loss": Criterion(False, "no labels: the model's own loss on the training images, last tenth", _loss),
    "udr": Criterion(True, "no labels, and two seeds or more", _udr),
    "dci.disentanglement": Criterion(True, f"the labels of {LABELLED:,} validation images", _disentanglement),
}
"""Criteria by name."""
