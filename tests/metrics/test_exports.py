"""Names of disentangle_bench.metrics, results as they are read, and the cost of the import."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from disentangle_bench import metrics
from disentangle_bench.metrics import MetricResult
from disentangle_bench.registry import GROUP_METRICS, METRICS

RESULT = MetricResult({"a": 0.25, "bb": float("nan")}, {"matrix": np.eye(2)}, {"bb": "not defined: <b> is 0"})


def test_importing_the_metrics_is_cheap() -> None:
    heavy = ("torch", "sklearn", "numba", "scipy", "pandas", "matplotlib")
    code = f"import sys, disentangle_bench.metrics; assert not [x for x in {heavy} if x in sys.modules], sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_registered_metric_is_a_function_here() -> None:
    names = [name for name, entry in METRICS.entries.items() if entry.group != "plugin"]
    names += GROUP_METRICS.entries
    assert {name for name in metrics.__all__ if name != "MetricResult"} == set(names)
    assert all(getattr(metrics, name).__name__ == name for name in names)
    assert all(METRICS.load(name).CARD.name == name for name in METRICS.entries)
    assert all(GROUP_METRICS.load(name).CARD.name == name for name in GROUP_METRICS.entries)


def test_a_result_is_read_by_attribute_and_by_key() -> None:
    assert RESULT.a == RESULT["a"] == 0.25
    assert RESULT.matrix is RESULT["matrix"] is RESULT.arrays["matrix"]
    assert list(RESULT) == ["a", "bb", "matrix"]
    assert {"a", "matrix", "scores"} <= set(dir(RESULT))
    with pytest.raises(KeyError, match="'c' is not in this result; it has a, bb, matrix"):
        RESULT["c"]
    with pytest.raises(AttributeError, match="'c' is not in this result"):
        _ = RESULT.c
    for other in (copy.deepcopy(RESULT), pickle.loads(pickle.dumps(RESULT))):
        assert (other.a, other.notes) == (RESULT.a, RESULT.notes)


def test_a_result_is_shown_in_a_few_lines_and_as_an_inert_table() -> None:
    assert repr(RESULT).splitlines() == [
        "MetricResult",
        "  a       0.25",
        "  bb      nan",
        "  matrix  array [2, 2]",
        "  note on bb: not defined: <b> is 0",
    ]
    page = RESULT._repr_html_()
    assert "<th>a</th><td>0.25</td>" in page
    assert "&lt;b&gt; is 0" in page
