"""What every metric accepts as codes and factors, checked once and in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.errors import BenchError


@dataclass(frozen=True)
class Arrays:
    """Checked input of a metric.

    ``values`` [n, d] are the codes, float64 or the integer dtype that was given; ``factors`` [n, k] are int64 and
    not negative. The first ``n_train`` rows are for fitting, the rest (maybe none) for testing.
    """

    values: npt.NDArray[Any]
    factors: npt.NDArray[np.int64]
    n_train: int


def as_arrays(codes: Any, factors: Any, n_train: int | None = None) -> Arrays:
    """Check codes [n, d] and factors [n, k] and give them as numpy arrays.

    Both may be numpy arrays, torch tensors (on any device) or nested lists, of any integer, boolean or real floating
    dtype. Factors may be floats if they hold integers. ``n_train`` is the number of leading rows for fitting;
    None means all of them.

    Raises BenchError, one line, for other dtypes, not two axes, no rows or columns, a different number of rows,
    codes that are NaN or infinite (or not representable in float64), factors that are negative or not integers, and
    ``n_train`` outside 1..n.
    """
    values = as_codes(codes)
    labels = _matrix(factors, "factors", "factors")
    if len(values) != len(labels):
        raise BenchError(
            f"codes have {len(values)} rows and factors have {len(labels)}; both need one row per image, in the same "
            "order: pass the codes and the factors of the same images."
        )
    return Arrays(values, _factors(labels), _train_rows(n_train, len(values)))


def as_codes(codes: Any) -> npt.NDArray[Any]:
    """Codes [n, d] alone, checked and converted as by ``as_arrays``."""
    return _codes(_matrix(codes, "codes", "latents"))


def as_seed(rng: int) -> int:
    """``rng`` as a seed that every generator used here takes: a whole number in 0..2**32-1, or BenchError."""
    try:
        seed = int(rng)
        whole = seed == rng
    except (TypeError, ValueError, OverflowError):
        seed, whole = 0, False
    if not whole or not 0 <= seed < 2**32:
        raise BenchError(f"rng is {rng!r}; a seed is needed, a whole number from 0 to {2**32 - 1}.")
    return seed


def _matrix(given: Any, name: str, columns: str) -> npt.NDArray[Any]:
    """``given`` as a numpy array of two axes and a real dtype, not yet converted."""
    try:
        array = _to_numpy(given)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BenchError(
            f"{name} of type {type(given).__name__} cannot be read as an array ({reason}); pass a numpy array or a "
            f"torch tensor of shape [n, {columns}]."
        ) from error
    if array.dtype.kind not in "biuf":
        raise BenchError(
            f"{name} have dtype {array.dtype}; allowed are integers, booleans and real floats: convert them, e.g. "
            "with .astype(float)."
        )
    if array.ndim != 2:
        raise BenchError(
            f"{name} have shape {list(array.shape)}; two axes are needed, [n, {columns}]: reshape them, a single "
            "column with [:, None]."
        )
    if 0 in array.shape:
        raise BenchError(f"{name} have shape {list(array.shape)}; at least one row and one column are needed.")
    return array


def _to_numpy(given: Any) -> npt.NDArray[Any]:
    # Duck-typed, so that a metric on stored arrays never imports torch.
    if not hasattr(given, "detach"):
        return np.asarray(given)
    tensor = given.detach().cpu()
    try:
        return np.asarray(tensor.numpy())
    except TypeError:  # numpy has no bfloat16
        return np.asarray(tensor.double().numpy())


def _codes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind in "iu":
        return array
    with np.errstate(over="ignore"):  # a longdouble that overflows is reported below, with its place
        values = array.astype(np.float64)
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise BenchError(
            f"codes hold {array[row, column]} at row {row}, column {column}; every code must be finite: a model that "
            "gives NaN or infinity has not trained, drop its run or those rows."
        )
    return values


def _factors(array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind in "iu":
        good = (array >= 0) & (array <= np.iinfo(np.int64).max)
    else:
        wide = array.astype(np.promote_types(array.dtype, np.float64))  # 2**63 is infinity in float16
        # NaN fails every comparison, and 2**63 is the first number that int64 cannot hold.
        good = (wide >= 0) & (wide < 2.0**63) & (wide == np.floor(wide))
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise BenchError(
            f"factors hold {array[row, column]} at row {row}, column {column}; every factor must be a whole number "
            "0, 1, 2, ...: number the factor's values, e.g. with np.unique(column, return_inverse=True)."
        )
    return array.astype(np.int64)


def _train_rows(n_train: int | None, n: int) -> int:
    if n_train is None:
        return n
    try:
        rows = int(n_train)
        whole = rows == n_train and not isinstance(n_train, bool)
    except (TypeError, ValueError, OverflowError):
        rows, whole = 0, False
    if not whole or not 1 <= rows <= n:
        raise BenchError(
            f"n_train is {n_train!r} and there are {n} rows; allowed are whole numbers from 1 to {n}, or None for all "
            "rows."
        )
    return rows
