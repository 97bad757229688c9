"""Score codes: compute metrics and their chance levels for an evaluation, a file of codes, or all runs of a folder."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench import __version__, plugins
from disentangle_bench.atomic import remove_leftovers
from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.cores import limited
from disentangle_bench.errors import BenchError, one_line, unknown
from disentangle_bench.processes import Channel, answers, further_tasks
from disentangle_bench.registry import METRICS, metric_module
from disentangle_bench.scoring.files import load_evaluation, save_arrays
from disentangle_bench.scoring.groups import write_groups
from disentangle_bench.spec import File
from disentangle_bench.store import claims, runs

SCHEMA = 1
"""Schema of the JSON that ``score_file`` returns."""

FILE_METRICS = "dci,infomec"


def choose(metrics: str | None, variants: Sequence[str], base: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variant to compute of each metric that the user names.

    ``metrics`` is a list of names; None stands for those of ``base``, whose variants are the defaults. Each of
    ``variants`` is ``NAME``, for every metric that has this variant, or ``METRIC=NAME``.
    """
    base = base or {}
    names = METRICS.names(metrics) if metrics is not None else list(base)
    named = {name: base.get(name, metric_module(name).CARD.default_variant) for name in names}
    for word in variants:
        metric, equals, variant = word.rpartition("=")
        if equals and metric not in named:
            raise unknown("metric", metric, named)
        having = [name for name in ([metric] if equals else named) if variant in metric_module(name).CARD.variants]
        if not having:
            allowed = {v for name in ([metric] if equals else named) for v in metric_module(name).CARD.variants}
            raise unknown("variant", variant, allowed)
        named |= dict.fromkeys(having, variant)
    return named


@dataclass
class Scores:
    """Scores of one evaluation: rows for the record, the arrays behind them, notes, and seconds by metric."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def score(
    evaluation: Evaluation, metrics: dict[str, str], progress: Callable[[str], None] = lambda name: None
) -> Scores:
    """Compute the metrics, given as a mapping of name to variant, on one evaluation.

    Each score comes with its chance level: the same metric on codes whose rows are permuted relative to the factors.
    If there are no factors, metrics that need them are left out, with a note.
    """
    scores = Scores()
    for name, variant in metrics.items():
        progress(name)
        module = metric_module(name)
        if variant not in module.CARD.variants:
            raise unknown(f"variant of {name}", variant, module.CARD.variants)
        if module.CARD.needs_factors and not evaluation.factors.shape[1]:
            scores.notes[name] = {name: "left out: the dataset has no factors"}
            continue
        began = time.monotonic()
        result = module.score(evaluation, variant=variant, rng=0)
        permuted = [
            module.score(_permuted(evaluation, repeat), variant=variant, rng=0).scores
            for repeat in range(module.CARD.permutations)
        ]
        scores.seconds[name] = time.monotonic() - began
        for card in module.CARD.scores_of(variant):
            scores.rows.append(
                {
                    "metric": name,
                    "score": card.name,
                    "value": float(result.scores[card.name]),
                    "higher_is_better": card.higher_is_better,
                    "ranked": card.ranked,
                    "unit": card.unit,
                    "variant": variant,
                    "version": module.CARD.version_of(variant),
                    "paper": module.CARD.paper,
                    **_chance([scores[card.name] for scores in permuted]),
                }
            )
        scores.arrays |= {f"{name}.{key}": array for key, array in result.arrays.items()}
        if result.notes:
            scores.notes[name] = dict(result.notes)
    return scores


def _permuted(evaluation: Evaluation, repeat: int) -> Evaluation:
    """Return the evaluation with its rows of codes permuted and its factors unchanged."""
    rows = np.random.default_rng((2026, repeat)).permutation(len(evaluation.factors))
    codes = evaluation.codes
    indices = None if codes.indices is None else codes.indices[rows]
    return dataclasses.replace(evaluation, codes=Codes(codes.values[rows], indices))


def _chance(values: list[float]) -> dict[str, float | None]:
    """Return the mean and, for several permutations, the standard deviation over them; None where undefined."""
    return {
        "chance": float(np.mean(values)) if values else None,
        "chance_spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }


def score_file(
    source: str, evaluation: Evaluation, metrics: dict[str, str], bins: int | None = None
) -> tuple[Scores, dict[str, Any]]:
    """Return the scores of the codes in a file (or files) called ``source``, and the same content ready for JSON."""
    scores = score(evaluation, metrics)
    content = {
        "schema": SCHEMA,
        "file": source,
        "package": {"version": __version__},
        "images": {"train": evaluation.n_train, "test": len(evaluation.factors) - evaluation.n_train},
        "discrete": evaluation.codes.discrete,
        "latent_names": list(evaluation.latent_names),
        "factor_names": list(evaluation.factor_names),
        "bins": bins,
        "scores": scores.rows,
        "notes": scores.notes,
        "seconds": scores.seconds,
        "arrays": {name: array.tolist() for name, array in scores.arrays.items()},
    }
    return scores, content


def default_metrics(evaluation: Evaluation) -> dict[str, str]:
    """Return the default metrics for a file: those that accept real numbers if the factors are real."""
    if evaluation.factors.dtype.kind == "f":
        return {"dci": "eastwood2018", "mcc": "pearson"}
    return {name: metric_module(name).CARD.default_variant for name in FILE_METRICS.split(",")}


def score_results(
    out: Path,
    metrics: str | None,
    variants: Sequence[str],
    *,
    jobs: int,
    progress: Callable[[int, int], None],
    only: Collection[str] | None = None,
) -> tuple[list[runs.Record], dict[str, str]]:
    """Score every finished run of a results folder again from its stored codes, ``jobs`` at a time.

    In each record, scores of the same metric and variant are replaced, using the metric's present version, and others
    are kept; a run whose codes cannot be scored keeps its record as it was. Without ``metrics``, each run's own metrics
    are computed. ``only`` names the runs to score, by default all. Writes ``results.csv``, and ``groups.json`` with the
    scores of runs that differ only in their seed. Returns the new records and, by run, why a run could not be scored.
    """
    records = runs.load_records(out)
    if not records:
        raise BenchError(f"no run in {str(out)!r} is finished: dbench run finishes them, then they can be scored again")
    if only is not None:
        records = [record for record in records if record.folder.name in only]
    named = [choose(metrics, variants, record.spec.scoring.metrics) for record in records]
    files = {name: file for names in named for name in names if (file := METRICS.entries[name].file) is not None}
    for file in files.values():
        plugins.keep(file, out)
    failed: dict[str, str] = {}
    dumped = {name: file.model_dump() for name, file in files.items()}
    tasks = [[os.path.abspath(record.folder), each, dumped] for record, each in zip(records, named, strict=True)]
    target = "disentangle_bench.scoring.score:score_runs"
    try:
        with closing(answers(target, tasks, min(jobs, len(tasks)))) as scored:
            for done, (number, error) in enumerate(scored, start=1):
                if error is None:
                    error = "its process was killed (out of memory is a common cause: try fewer --jobs)"
                if error:
                    failed[records[number].folder.name] = error
                progress(done, len(records))
    finally:  # an interruption kills processes, which may be writing
        for record in records:
            remove_leftovers(record.folder)
    records = runs.load_records(out)
    runs.write_results(out)
    write_groups(out, records)
    return records, failed


def score_runs(first: Any, channel: Channel) -> None:
    """Score runs in a separate process; for each, send the reason why it could not be scored, or an empty string."""
    for folder, metrics, dumped in further_tasks(first):
        try:
            _score_run(Path(folder), metrics, {name: File(**file) for name, file in dumped.items()})
            channel.send("")
        except BenchError as error:
            channel.send(one_line(error))
        except Exception as error:  # a fault in one run must not stop the others
            channel.send(one_line(f"{type(error).__name__}: {error}: see the files in {folder}"))


def _score_run(folder: Path, metrics: dict[str, str], files: dict[str, File]) -> None:
    """Score one run's codes and store the scores in its record, writing the matrices first and the record last."""
    try:
        for name, file in files.items():
            METRICS.restore(name, file, folder.parent.parent)
        with claims.claimed(folder):
            _rescore(folder, metrics, files)
    except claims.Busy as busy:
        raise BenchError(f"{busy}: score it when that has ended") from busy


def _rescore(folder: Path, metrics: dict[str, str], files: dict[str, File]) -> None:
    finished = runs.read_record(folder)
    with limited(1):
        scores = score(load_evaluation(runs.check_file(finished, "codes.npz")), metrics)
    record = dict(finished.content)
    own = record["spec"]["scoring"]["metrics"]
    fresh = {(row["metric"], row["variant"]) for row in scores.rows}
    kept = [row for row in record["scores"] if (row["metric"], row["variant"]) not in fresh]
    record["scores"] = kept + scores.rows
    record["notes"] = record.get("notes", {}) | {_name(m, metrics[m], own): notes for m, notes in scores.notes.items()}
    record["scored"] = {"version": __version__, "metrics": metrics}
    if files:
        record["metric_files"] = record.get("metric_files", {}) | {n: f.model_dump() for n, f in files.items()}
    matrices = folder / "matrices.npz"
    arrays: dict[str, Any] = {}
    if matrices.exists():
        with np.load(matrices, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    for key, array in scores.arrays.items():
        metric, _, name = key.partition(".")
        arrays[f"{_name(metric, metrics[metric], own)}.{name}"] = array
    save_arrays(matrices, arrays)
    runs.write_record(folder, record)


def _name(metric: str, variant: str, own: dict[str, str]) -> str:
    """Return a metric's name for a record's notes and arrays, with the variant if it is not the run's own."""
    return metric if own.get(metric, variant) == variant else f"{metric}[{variant}]"
