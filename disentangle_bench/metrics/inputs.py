"""Check a metric's input: codes, factors, numbers of rows and seeds, from numpy, torch and other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Codes
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics._information import relabel

LARGEST = float(np.finfo(np.float32).max)
"""Largest magnitude of a code: the largest float32, since the trees read float32."""

CLASSES = 256
"""Largest number of different values for which whole floats are taken as the numbers of classes."""

_UNREADABLE = (TypeError, ValueError, RuntimeError, BufferError)
"""Errors raised by numpy, and by other libraries' arrays that it cannot read, such as those on a device."""


@dataclass(frozen=True)
class Arrays:
    """Checked input of a metric.

    ``values`` [n, d] are the codes, as float64 or in the integer dtype given; ``factors`` [n, k] are int64 and not
    negative, or float64 where real factors are allowed. The first ``n_train`` rows are for fitting, the rest (possibly
    none) for testing.
    """

    values: npt.NDArray[Any]
    factors: npt.NDArray[Any]
    n_train: int


def as_arrays(codes: Any, factors: Any, n_train: int | None = None, *, real_factors: bool = False) -> Arrays:
    """Check codes [n, d] and factors [n, k] and return them as numpy arrays.

    If ``codes`` is Codes, its values are read. Both may be numpy arrays, torch tensors and CuPy arrays (on any device),
    anything with ``__array__`` (JAX, pandas) or ``__dlpack__``, or nested lists, of any integer, boolean or real
    floating dtype. Factors may be floats if they hold integers. ``n_train`` is the number of leading rows for fitting;
    None means all of them. With ``real_factors``, any finite factors are allowed; they are returned as float64 unless
    every column holds whole numbers, with at most 256 different values if they are floats.

    Raises BenchError, one line, for other dtypes, other than two axes, no rows or columns, different numbers of rows,
    codes that are NaN, infinite or beyond the largest float32, factors that are negative or not integers, and
    ``n_train`` outside 1..n.
    """
    values = as_codes(codes.values if isinstance(codes, Codes) else codes)
    labels = _matrix(factors, "factors", "factors")
    if len(values) != len(labels):
        raise BenchError(
            f"codes have {len(values)} rows and factors have {len(labels)}; both need one row per image, in the same "
            "order: pass the codes and the factors of the same images."
        )
    checked = _finite(labels.astype(np.float64), "factors") if real_factors and _real(labels) else _factors(labels)
    return Arrays(values, checked, _train_rows(n_train, len(values)))


def as_codes(codes: Any) -> npt.NDArray[Any]:
    """Return codes [n, d] alone, checked and converted as by ``as_arrays``."""
    return _codes(_matrix(codes, "codes", "latents"))


def as_column(given: Any, name: str, rows: int) -> npt.NDArray[np.float64]:
    """Return one number per row, ``name`` [n], as float64; raise BenchError for anything else."""
    try:
        column = _to_numpy(given)
    except _UNREADABLE as error:
        raise BenchError(
            f"{name} of type {type(given).__name__} cannot be read as an array: pass numbers [n]"
        ) from error
    if column.shape != (rows,) or column.dtype.kind not in "biuf":
        raise BenchError(
            f"{name} has dtype {column.dtype} and shape {list(column.shape)}; needed are {rows} numbers, [n]"
        )
    return column.astype(np.float64)


def as_group(codes: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """Return the values [n, d] of several runs' codes of the same images, each checked as by ``as_codes``.

    Raises BenchError for fewer than two runs and for shapes that differ.
    """
    runs = [as_codes(run.values if isinstance(run, Codes) else run) for run in codes]
    if len(runs) < 2:
        raise BenchError(
            f"{len(runs)} run was given; two or more are compared: pass a list of arrays [n, d], one per run."
        )
    for number, run in enumerate(runs):
        if run.shape != runs[0].shape:
            raise BenchError(
                f"codes of run {number} have shape {list(run.shape)}, those of run 0 {list(runs[0].shape)}; all must "
                "be [n, d] alike: encode the same images with each run."
            )
    return runs


def as_seed(rng: int) -> int:
    """Return ``rng`` as a seed for every generator used here; raise BenchError unless it is a whole number < 2**32."""
    try:
        seed = int(rng)
        whole = seed == rng
    except (TypeError, ValueError, OverflowError):
        seed, whole = 0, False
    if not whole or not 0 <= seed < 2**32:
        raise BenchError(f"rng is {rng!r}; allowed are whole numbers from 0 to {2**32 - 1}: pass a seed, e.g. 0.")
    return seed


def read_codes(codes: Any, discrete: bool | None) -> Codes:
    """Return ``codes`` as Codes of checked numpy arrays, symbols numbered from 0 by latent.

    An array [n, d] stands for the values and, if ``discrete``, for the symbols as well. Its values are then scaled so
    that the latent with the widest range spans 2, like a grid of scalars on [-1, 1]: the one rule that depends on their
    scale, activity in ``tripod2024``, is made for such a grid.

    Raises BenchError if an array comes without ``discrete``, if ``discrete`` contradicts Codes, or if values and
    indices differ in shape.
    """
    if isinstance(codes, Codes):
        if discrete is not None and bool(discrete) != codes.discrete:
            held = "symbols (indices)" if codes.discrete else "no symbols (indices is None)"
            raise BenchError(
                f"discrete is {discrete!r} and the codes hold {held}; leave discrete out, Codes say it themselves."
            )
        values = as_codes(codes.values)
        if codes.indices is None:
            return Codes(values)
        indices = as_codes(codes.indices)
        if indices.shape != values.shape:
            raise BenchError(
                f"the codes' values have shape {list(values.shape)} and their indices {list(indices.shape)}; both "
                "must be [n, d], a symbol for every value."
            )
        return Codes(values, relabel(indices))
    if discrete is None:
        raise BenchError(
            "discrete is None and codes is an array; an array does not say whether its numbers are symbols: pass "
            "discrete=True or discrete=False."
        )
    values = as_codes(codes)
    if not discrete:
        return Codes(values)
    widest = float(np.ptp(values.astype(np.float64), axis=0).max())
    return Codes(values * (2.0 / widest) if widest else values, relabel(values))


def _matrix(given: Any, name: str, columns: str) -> npt.NDArray[Any]:
    """Return ``given`` as a numpy array of two axes and a real dtype, not yet converted."""
    try:
        array = _to_numpy(given)
    except _UNREADABLE as error:
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
    # Duck typing, so that a metric on stored arrays never imports torch.
    if not hasattr(given, "detach"):
        if hasattr(given, "__dlpack__") and not hasattr(given, "__array__"):
            return np.from_dlpack(given)
        # CuPy refuses to copy from its device unless asked to.
        return np.asarray(given.get() if hasattr(given, "__cuda_array_interface__") else given)
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
    with np.errstate(over="ignore"):  # a longdouble that overflows is reported below, with its position
        values = _finite(array.astype(np.float64), "codes", array)
    large = np.abs(values) > LARGEST
    if large.any():  # squares and powers of such numbers overflow, and solvers would never finish
        row, column = (int(i) for i in np.argwhere(large)[0])
        raise BenchError(
            f"codes hold {values[row, column]} at row {row}, column {column}; allowed are magnitudes up to "
            f"{LARGEST:.2g} (float32): rescale that latent."
        )
    return values


def _finite(
    values: npt.NDArray[np.float64], name: str, shown: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.float64]:
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise BenchError(
            f"{name} hold {(values if shown is None else shown)[row, column]} at row {row}, column {column}; every "
            "number must be finite: a model that gives NaN or infinity has not trained, drop its run or those rows."
        )
    return values


def _whole(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return a mask of the entries that are whole numbers, not negative, and fit int64."""
    if array.dtype.kind in "iu":
        return np.asarray((array >= 0) & (array <= np.iinfo(np.int64).max))
    wide = array.astype(np.promote_types(array.dtype, np.float64))  # 2**63 is infinity in float16
    # NaN fails every comparison, and 2**63 is the first number that int64 cannot hold.
    return np.asarray((wide >= 0) & (wide < 2.0**63) & (wide == np.floor(wide)))


def _many(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return a mask of the float columns with too many values to be the numbers of classes."""
    if array.dtype.kind != "f":
        return np.zeros(array.shape[1], dtype=bool)
    return np.array([len(np.unique(column)) > CLASSES for column in array.T])


def _real(array: npt.NDArray[Any]) -> bool:
    """Return whether factors are real numbers rather than the numbers of classes."""
    return array.dtype.kind != "b" and not (_whole(array).all() and not _many(array).any())


def _factors(array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    good = _whole(array)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise BenchError(
            f"factors hold {array[row, column]} at row {row}, column {column}; every factor must be a whole number "
            "0, 1, 2, ...: number its values, e.g. with np.unique(column, return_inverse=True); for real numbers use "
            "mcc, dci with variant eastwood2018, or bins."
        )
    many = _many(array)
    if many.any():
        column = int(np.flatnonzero(many)[0])
        raise BenchError(
            f"factors hold over {CLASSES} different floats in column {column}, taken for a real number: use mcc, "
            "dci with variant eastwood2018, or bins; if they are classes, pass integers."
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
