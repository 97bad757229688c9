"""What codes and factors every metric accepts, and what it says of others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from disentangle_bench import metrics
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.inputs import as_arrays, as_seed

CODES = np.arange(6.0).reshape(3, 2)
FACTORS = np.array([[0], [1], [2]])


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "bool", "float16", "float32", "float64"])
def test_every_real_dtype_of_numpy_is_read(dtype: str) -> None:
    codes = np.array([[0, 1], [1, 1]], dtype=dtype)
    arrays = as_arrays(codes, codes)
    assert arrays.factors.dtype == np.int64
    assert arrays.factors.tolist() == [[0, 1], [1, 1]]
    assert arrays.values.astype(float).tolist() == [[0.0, 1.0], [1.0, 1.0]]
    if codes.dtype.kind == "f":
        assert arrays.values.dtype == np.float64
    if codes.dtype.kind in "iu":
        assert arrays.values.dtype == codes.dtype
    assert arrays.n_train == 2


def test_torch_tensors_of_every_dtype_are_read() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int16, torch.int64, torch.bool):
        codes = torch.tensor([[0, 1], [1, 0]]).to(dtype)
        if dtype.is_floating_point:
            codes.requires_grad_()
        arrays = as_arrays(codes, torch.tensor([[0], [3]]))
        assert arrays.values.astype(float).tolist() == [[0.0, 1.0], [1.0, 0.0]], dtype
        assert arrays.factors.tolist() == [[0], [3]]


def _with(array: np.ndarray, value: float, row: int, column: int) -> np.ndarray:
    copy = array.astype(float)
    copy[row, column] = value
    return copy


@pytest.mark.parametrize(
    ("codes", "factors", "n_train", "says"),
    [
        (_with(CODES, np.nan, 2, 1), FACTORS, None, "codes hold nan at row 2, column 1"),
        (_with(CODES, -np.inf, 0, 1), FACTORS, None, "codes hold -inf at row 0, column 1"),
        (CODES, _with(FACTORS, -1, 1, 0), None, "factors hold -1.0 at row 1, column 0"),
        (CODES, _with(FACTORS, 0.5, 2, 0), None, "factors hold 0.5 at row 2, column 0"),
        (CODES, _with(FACTORS, np.nan, 2, 0), None, "factors hold nan at row 2"),
        (CODES, np.array([[0], [1], [2**63]], dtype=np.uint64), None, "factors hold 9223372036854775808 at row 2"),
        (CODES[:2], FACTORS, None, "codes have 2 rows and factors have 3"),
        (CODES[:, 0], FACTORS, None, r"codes have shape \[3\]; two axes are needed"),
        (CODES, FACTORS[:, 0], None, r"factors have shape \[3\]; two axes are needed"),
        (CODES[:0], FACTORS[:0], None, "at least one row"),
        (CODES[:, :0], FACTORS, None, "at least one row and one column"),
        (CODES.astype(str), FACTORS, None, "codes have dtype <U"),
        (CODES.astype(object), FACTORS, None, "codes have dtype object"),
        (CODES.astype(complex), FACTORS, None, "codes have dtype complex128"),
        (CODES, FACTORS.astype("datetime64[s]"), None, "factors have dtype datetime64"),
        ([[1.0], [1.0, 2.0]], FACTORS, None, "codes of type list cannot be read"),
        (CODES, FACTORS, 0, "n_train is 0 and there are 3 rows"),
        (CODES, FACTORS, 4, "n_train is 4 and there are 3 rows"),
        (CODES, FACTORS, 1.5, "n_train is 1.5"),
        (CODES, FACTORS, True, "n_train is True"),
        (CODES, FACTORS, "2", "n_train is '2'"),
    ],
)
def test_unusable_input_is_one_clear_line(codes, factors, n_train, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BenchError, match=says) as error:
        as_arrays(codes, factors, n_train)
    assert "\n" not in str(error.value)


def test_input_is_not_changed_and_whole_floats_are_factors() -> None:
    factors = FACTORS.astype(np.float32)
    arrays = as_arrays(CODES, factors, np.int64(2))
    assert arrays.factors.tolist() == FACTORS.tolist()
    assert factors.dtype == np.float32
    assert arrays.n_train == 2


def test_seeds() -> None:
    assert as_seed(np.int64(7)) == as_seed(7.0) == 7
    for seed in (-1, 2**32, 0.5, None, "1", np.inf):
        with pytest.raises(BenchError, match="allowed are whole numbers from 0 to 4294967295"):
            as_seed(seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [metrics.dci, metrics.mcc, metrics.sap])
def test_a_bad_seed_of_a_metric_is_one_line(metric: Callable[..., object]) -> None:
    codes = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(BenchError, match="rng is None"):
        metric(codes, np.arange(120).reshape(60, 2) % 3, rng=None)
