"""Scores of codes from any source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.metrics.metric import MetricResult, as_arrays, as_codes, read_codes
from disentangle_bench.registry import METRICS, metric_module


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
    """Return the results of metrics on codes, by metric name.

    ``codes`` [n, d] are numbers, or ``Codes``; ``factors`` [n, k] are integers. The first ``n_train`` rows fit
    predictors and the others test them; by default the last third tests. ``discrete`` says whether codes are symbols;
    by default integers are. ``variants`` name a variant by metric. ``squared_error`` [n] is what ``mse`` needs.

    Raises ``BenchError`` for unknown names and for arrays that do not fit together.
    """
    names = METRICS.names(metrics if isinstance(metrics, str) else ",".join(metrics))
    if discrete is None and not isinstance(codes, Codes):
        discrete = as_codes(codes).dtype.kind in "iu"
    checked = read_codes(codes, discrete)
    rows = len(checked.values)
    arrays = as_arrays(checked.values, factors, rows - rows // 3 if n_train is None else n_train, real_factors=True)
    error = None if squared_error is None else np.asarray(squared_error, np.float64)
    evaluation = Evaluation(checked, arrays.factors, arrays.n_train, error)
    results = {}
    for name in names:
        module = metric_module(name)
        variant = (variants or {}).get(name, module.CARD.default_variant)
        results[name] = module.score(evaluation, variant=variant, rng=0)
    return results
