"""Scores of codes from any source, alone or beside the trained runs of a results folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from disentangle_bench.api.results import Run
from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import unknown
from disentangle_bench.metrics.inputs import as_arrays, as_codes, as_column, read_codes
from disentangle_bench.metrics.metric import MetricResult
from disentangle_bench.registry import DATASETS, METRICS, metric_module
from disentangle_bench.scoring.tables import columns_of


def score(
    codes: Any,
    factors: Any,
    metrics: str | Sequence[str] = ("dci", "infomec"),
    *,
    variants: Mapping[str, str] | None = None,
    discrete: bool | None = None,
    n_train: int | None = None,
    squared_error: Any = None,
) -> dict[str, MetricResult]:
    """Score codes by ``metrics``, names or files, and return the results by metric name.

    ``codes`` [n, d] are numbers, or ``Codes``; ``factors`` [n, k] are numbers, one row per image. Both may be numpy,
    torch, JAX or CuPy arrays, anything else with ``__array__`` or ``__dlpack__``, nested lists, or pandas DataFrames,
    whose column names then become the results' ``latent_names`` and ``factor_names``. The first ``n_train`` rows fit
    predictors and the others test them; by default, the last third tests them. ``discrete`` says whether codes are
    symbols; by default, integers are. ``variants`` has the names of variants by metric. ``squared_error`` [n] is needed
    for ``mse``.

    Raises ``BenchError`` for unknown names, columns without numbers, and arrays that do not fit together. The page of
    each metric names its source.
    """
    names = METRICS.names(metrics if isinstance(metrics, str) else ",".join(metrics))
    evaluation = _evaluation(codes, factors, discrete, n_train, squared_error)
    latents, labels = evaluation.latent_names, evaluation.factor_names
    results = {}
    for name in names:
        module = metric_module(name)
        variant = (variants or {}).get(name, module.CARD.default_variant)
        if variant not in module.CARD.variants:
            raise unknown(f"variant of {name}", variant, module.CARD.variants)
        result = module.score(evaluation, variant=variant, rng=0)
        results[name] = dataclasses.replace(result, latent_names=latents, factor_names=labels)
    return results


def import_codes(
    codes: Any,
    factors: Any,
    *,
    model: str,
    dataset: str | type,
    seed: int = 0,
    protocol: str = "standard",
    out: str | PathLike[str] = "results",
    metrics: str | Sequence[str] | None = None,
    variants: Mapping[str, str] | None = None,
    discrete: bool | None = None,
    n_train: int | None = None,
    squared_error: Any = None,
) -> Run:
    """Score codes from elsewhere and return them as a run of the folder ``out``, with a row in its tables and page.

    ``codes`` [n, d], ``factors`` [n, k], ``discrete``, ``n_train``, ``squared_error`` [n] and ``variants`` are as for
    ``score``. The factors must be those of ``dataset``, in its order. ``model`` is any name of up to 60 letters, digits
    and ``. _ + -``, and ``seed`` is the seed of its training. The row appears in the table of ``protocol``, whose
    metrics are computed unless ``metrics`` names others. It is marked as external and never ranked: nobody knows how
    the model was trained. Seeds of one model that are imported one by one are pooled.

    Raises ``BenchError`` as ``score`` does, for factors that cannot be the dataset's, and if the folder has other codes
    of the same model, dataset, protocol and seed.
    """
    from disentangle_bench.scoring import external

    evaluation = _evaluation(codes, factors, discrete, n_train, squared_error)
    record = external.import_codes(
        evaluation,
        {"file": "arrays in Python", "sha256": _digest(evaluation)},
        Path(out),
        model=model,
        dataset=DATASETS.name_of(dataset) if isinstance(dataset, type) else dataset,
        seed=seed,
        protocol_name=protocol,
        metrics=metrics if metrics is None or isinstance(metrics, str) else ",".join(metrics),
        variants=[f"{metric}={variant}" for metric, variant in (variants or {}).items()],
    )
    return Run(record)


def _evaluation(codes: Any, factors: Any, discrete: bool | None, n_train: int | None, squared_error: Any) -> Evaluation:
    """Check what was given and return it as an evaluation, with the names of a DataFrame's columns."""
    (codes, latents), (factors, labels) = _named(codes, "codes"), _named(factors, "factors")
    if discrete is None and not isinstance(codes, Codes):
        discrete = as_codes(codes).dtype.kind in "iu"
    checked = read_codes(codes, discrete)
    rows = len(checked.values)
    arrays = as_arrays(checked.values, factors, rows - rows // 3 if n_train is None else n_train, real_factors=True)
    error = None if squared_error is None else as_column(squared_error, "squared_error", rows)
    return Evaluation(checked, arrays.factors, arrays.n_train, error, None, latents, labels)


def _digest(evaluation: Evaluation) -> str:
    """Return the SHA-256 of an evaluation's arrays, with their types and shapes."""
    codes, sha256 = evaluation.codes, hashlib.sha256()
    for array in (codes.values, codes.indices, evaluation.factors, evaluation.squared_error):
        if array is not None:
            sha256.update(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return sha256.hexdigest()


def _named(given: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return a DataFrame's numbers and the names of its columns, and anything else as it is."""
    if hasattr(given, "iloc") and hasattr(given, "columns"):
        return columns_of(given, name)
    return given, ()
