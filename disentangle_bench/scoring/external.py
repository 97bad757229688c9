"""Import codes from elsewhere as a run of a results folder, scored like others but marked external and never ranked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from disentangle_bench import __version__
from disentangle_bench.codes import Evaluation
from disentangle_bench.config.protocols import protocol
from disentangle_bench.data.dataset import Card
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, dataset_class
from disentangle_bench.scoring.files import save_arrays, save_evaluation
from disentangle_bench.scoring.score import Scores, choose, score
from disentangle_bench.scoring.tables import Reading
from disentangle_bench.spec import EXTERNAL, RunSpec
from disentangle_bench.store import claims, files, runs


def origin_of(paths: Sequence[Path], reading: Reading) -> dict[str, str]:
    """Return what a record states about the files that codes come from: names, SHA-256, and how they were read."""
    columns = {"codes_columns": reading.codes_columns, "factors_columns": reading.factors_columns}
    return {
        "file": " and ".join(path.name for path in paths),
        "sha256": " and ".join(files.digest(path) for path in paths),
        **{key: ",".join(names) for key, names in columns.items() if names},
        **({} if reading.discrete is None else {"discrete": str(reading.discrete).lower()}),
    }


def import_codes(
    evaluation: Evaluation,
    origin: dict[str, str],
    out: Path,
    *,
    model: str,
    dataset: str,
    seed: int = 0,
    protocol_name: str = "standard",
    metrics: str | None = None,
    variants: Sequence[str] = (),
    progress: Callable[[str], None] = lambda metric: None,
) -> runs.Record:
    """Score codes, store them as a finished run of the results folder ``out``, and return its record.

    ``origin`` says where the codes come from: its ``file`` is only a name; the rest tells them apart from other codes.
    The run appears in the table of ``dataset`` and the protocol, under the name ``model``. Its spec lists ``external``
    instead of changed settings: nobody knows how the model was trained, so the run is never ranked. Without
    ``metrics``, those of the protocol are computed. Importing the same codes again scores them again.

    Raises ``BenchError`` for codes that cannot be scored, factors that do not belong to the dataset, unknown names, and
    a folder that already has other codes under the same name and seed.
    """
    if not re.fullmatch(r"[\w.+-]{1,60}", model, re.ASCII):
        raise BenchError(f"the model is called {model!r}: give up to 60 letters, digits and any of . _ + -")
    if not 0 <= seed < 2**63:
        raise BenchError(f"the seed is {seed}: give a whole number from 0 to 2^63 - 1")
    dataset = DATASETS.canonical(dataset)
    card, rules = dataset_class(dataset).card, protocol(protocol_name)
    _check(origin["file"], evaluation, card)
    asked = choose(metrics, variants, rules.scoring.metrics)
    if metrics is None and evaluation.squared_error is None:
        asked.pop("mse", None)
    fitted = {"train_images": evaluation.n_train, "test_images": len(evaluation.factors) - evaluation.n_train}
    spec = RunSpec(
        model=model,
        model_version=1,
        dataset=dataset,
        dataset_version=card.version,
        protocol=rules.label,
        protocol_version=rules.version,
        seed=seed,
        settings={},
        training=rules.training,
        scoring=rules.scoring.model_copy(update=fitted),
        changed=(EXTERNAL,),
    )
    folder = runs.run_folder(out, spec)
    (out / "runs").mkdir(parents=True, exist_ok=True)
    try:
        _check_free(folder, origin)
        scores = score(evaluation, asked, progress)  # before there is a folder, which an interruption would leave empty
        with claims.claimed(folder):
            _check_free(folder, origin)
            _write(folder, spec, card, evaluation, scores, origin)
    except claims.Busy as busy:
        raise BenchError(f"{busy}: import the codes when that has ended") from busy
    runs.write_results(out)
    return runs.read_record(folder)


def _check(source: str, evaluation: Evaluation, card: Card) -> None:
    """Raise ``BenchError`` if rows to fit or to test on are missing, or if the factors cannot be the dataset's."""
    rows = len(evaluation.factors)
    if not 2 <= evaluation.n_train < rows:
        raise BenchError(
            f"{source} has {rows} rows, {evaluation.n_train} of them to fit predictors: give --n-train at least 2, and "
            "leave rows to test on"
        )
    factors, names = evaluation.factors, evaluation.factor_names
    if factors.shape[1] != len(card.factor_names):
        raise BenchError(
            f"{source} has {factors.shape[1]} factors, and {card.name} has {len(card.factor_names)}: give them in the "
            f"order of dbench data info {card.name}"
        )
    if sorted(names) == sorted(card.factor_names) and names != tuple(card.factor_names):
        raise BenchError(f"{source} has the factors in another order: name {','.join(card.factor_names)}")
    if factors.dtype.kind != "i":
        raise BenchError(
            f"{source} has factors that are real numbers, and those of {card.name} are classes: number them"
        )
    for name, size, column in zip(card.factor_names, card.factor_sizes, factors.T, strict=True):
        if (count := len(np.unique(column))) > size:
            raise BenchError(
                f"{source} has {count} values of {name}, and {card.name} has {size}: is it another dataset?"
            )


def _check_free(folder: Path, origin: dict[str, str]) -> None:
    """Raise ``BenchError`` if other codes have the run's name; set aside a record that cannot be used."""
    if not runs.is_finished(folder):
        runs.set_aside(folder)
    elif runs.read_record(folder).content.get("external", {}) | {"file": ""} != origin | {"file": ""}:
        raise BenchError(f"{folder} has other codes: remove it with dbench rm, or give another --seed or --model")


def _write(
    folder: Path, spec: RunSpec, card: Card, evaluation: Evaluation, scores: Scores, origin: dict[str, str]
) -> None:
    """Write codes, matrices and, last, the record."""
    save_evaluation(folder / "codes.npz", evaluation)
    save_arrays(folder / "matrices.npz", scores.arrays)
    content = {
        "schema": files.SCHEMA,
        "run_id": spec.run_id,
        "digest": spec.digest,
        "spec": spec.model_dump(mode="json"),
        "ranked": False,
        "external": origin,
        "dataset": {"factor_names": card.factor_names, "factor_sizes": card.factor_sizes},
        "package": {"version": __version__},
        "images": {"evaluation": len(evaluation.factors)},
        "seconds": {"metrics": scores.seconds},
        "scores": scores.rows,
        "notes": scores.notes,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {"codes.npz": files.digest(folder / "codes.npz")},
    }
    runs.write_record(folder, content)
