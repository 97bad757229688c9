"""Scores of codes from any source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import unknown
from disentangle_bench.metrics.metric import MetricResult, as_arrays, as_codes, as_column, read_codes
from disentangle_bench.registry import METRICS, metric_module
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
    """Return the results of ``metrics``, names or files, on codes, by metric name.

    ``codes`` [n, d] are numbers, or ``Codes``; ``factors`` [n, k] are numbers, one row per image. Both may be numpy,
    torch, JAX or CuPy arrays, whatever else has ``__array__`` or ``__dlpack__``, nested lists, or pandas DataFrames,
    whose columns' names are then the results' ``latent_names`` and ``factor_names``. The first ``n_train`` rows fit
    predictors and the others test them; by default the last third tests. ``discrete`` says whether codes are symbols;
    by default integers are. ``variants`` name a variant by metric. ``squared_error`` [n] is what ``mse`` needs.

    Raises ``BenchError`` for unknown names, columns without numbers, and arrays that do not fit together. The page of
    each metric names its source.
    """
    names = METRICS.names(metrics if isinstance(metrics, str) else ",".join(metrics))
    (codes, latents), (factors, labels) = _named(codes, "codes"), _named(factors, "factors")
    if discrete is None and not isinstance(codes, Codes):
        discrete = as_codes(codes).dtype.kind in "iu"
    checked = read_codes(codes, discrete)
    rows = len(checked.values)
    arrays = as_arrays(checked.values, factors, rows - rows // 3 if n_train is None else n_train, real_factors=True)
    error = None if squared_error is None else as_column(squared_error, "squared_error", rows)
    evaluation = Evaluation(checked, arrays.factors, arrays.n_train, error, None, latents, labels)
    results = {}
    for name in names:
        module = metric_module(name)
        variant = (variants or {}).get(name, module.CARD.default_variant)
        if variant not in module.CARD.variants:
            raise unknown(f"variant of {name}", variant, module.CARD.variants)
        result = module.score(evaluation, variant=variant, rng=0)
        results[name] = dataclasses.replace(result, latent_names=latents, factor_names=labels)
    return results


def _named(given: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return a DataFrame's numbers and the names of its columns, and anything else as it is."""
    if hasattr(given, "iloc") and hasattr(given, "columns"):
        return columns_of(given, name)
    return given, ()
