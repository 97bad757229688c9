"""Read and write files of codes: a run's stored evaluation, and codes from any source. No pickle is read or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path
from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.metrics._information import histogram_symbols
from disentangle_bench.metrics.inputs import as_arrays, as_codes, read_codes
from disentangle_bench.scoring.archive import read_archive

NEEDED = {"codes", "factors"}
KEYS = NEEDED | {"n_train", "discrete", "indices", "squared_error", "index"}
"""The arrays that a file with an evaluation may hold."""


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed ``.npz``, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation in the form that ``dbench score`` reads.

    The file holds ``codes``, ``factors``, ``n_train`` and ``discrete`` and, if the evaluation has them, ``indices``,
    ``squared_error`` and ``index`` (positions of the images in the dataset).
    """
    arrays = {
        "codes": evaluation.codes.values,
        "factors": evaluation.factors,
        "n_train": np.int64(evaluation.n_train),
        "discrete": np.bool_(evaluation.codes.discrete),
    }
    if evaluation.codes.indices is not None:
        arrays["indices"] = evaluation.codes.indices
    if evaluation.squared_error is not None:
        arrays["squared_error"] = evaluation.squared_error
    if evaluation.index is not None:
        arrays["index"] = evaluation.index
    save_arrays(path, arrays)


def load_evaluation(path: Path, bins: int | None = None) -> Evaluation:
    """Return the evaluation in a file, written by ``save_evaluation`` or with codes from any source.

    ``codes`` [n, d] and ``factors`` [n, k] are needed; ``evaluation_of`` says what the others mean. Raises
    ``BenchError`` for a damaged file, and for one that holds other arrays, arrays that do not fit together, or pickled
    objects, which are rejected unread.
    """
    return evaluation_of(str(path), read_archive(path, NEEDED, KEYS - NEEDED), bins)


def evaluation_of(
    source: str,
    arrays: dict[str, npt.NDArray[Any]],
    bins: int | None = None,
    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> Evaluation:
    """Return the evaluation made from arrays by name, from a file (or files) called ``source``.

    Without ``n_train``, the last third of the rows (rounded down) is for testing. Codes are symbols if there are
    ``indices``, if ``discrete`` says so or, without ``discrete``, if they are integers. Factors that are not classes
    (see ``as_arrays``) stay real numbers, or are cut into ``bins`` intervals of equal width. ``names`` are those of
    latents and factors. Raises ``BenchError`` for arrays that do not fit together.
    """
    codes = as_codes(arrays["codes"])
    rows, integers = len(codes), codes.dtype.kind in "iu"
    discrete = _flag(source, arrays, "indices" in arrays or integers)
    if "indices" in arrays and not discrete:
        raise BenchError(f"{source}: discrete is false and there are indices; leave out one of them")
    symbols = Codes(codes, arrays["indices"]) if "indices" in arrays else None
    checked = read_codes(symbols, None) if symbols is not None else read_codes(codes, discrete)
    n_train = _scalar(source, arrays, "n_train", rows - rows // 3)
    none = arrays["factors"].shape == (rows, 0)  # images without factors
    labels = as_arrays(codes, np.zeros((rows, 1)) if none else arrays["factors"], n_train, real_factors=True)
    factors = labels.factors[:, :0] if none else labels.factors
    if bins is not None:
        factors = _binned(factors, bins)
    error, index = (_column(source, arrays, key, rows) for key in ("squared_error", "index"))
    return Evaluation(checked, factors, labels.n_train, error, index, *names)


def _binned(factors: npt.NDArray[Any], bins: int) -> npt.NDArray[np.int64]:
    """Return factors [n, k] with each column of real numbers cut into ``bins`` intervals of equal width."""
    if bins < 2:
        raise BenchError(f"bins is {bins}; two or more are needed")
    columns = []
    for column in factors.T[:, :, None]:
        whole = as_arrays(np.zeros_like(column), column, real_factors=True).factors
        columns.append(whole if whole.dtype.kind == "i" else histogram_symbols(column, bins))
    return np.hstack(columns)


def _column(source: str, arrays: dict[str, npt.NDArray[Any]], key: str, rows: int) -> npt.NDArray[Any] | None:
    array = arrays.get(key)
    if array is not None and array.shape != (rows,):
        raise BenchError(f"{source}: {key} has shape {list(array.shape)}, codes have {rows} rows")
    if array is not None and array.dtype.kind not in "iuf":
        raise BenchError(f"{source}: {key} has dtype {array.dtype}; numbers are needed, one per row")
    return array


def _flag(source: str, arrays: dict[str, npt.NDArray[Any]], default: bool) -> bool:
    """Return ``discrete``, a boolean or 0 or 1. A string such as "False" is rejected, since it would count as true."""
    value = _scalar(source, arrays, "discrete", default)
    if isinstance(value, str | bytes) or value not in (0, 1):
        raise BenchError(f"{source}: discrete is {one_line(repr(value))}; allowed are true and false: save a boolean")
    return bool(value)


def _scalar(source: str, arrays: dict[str, npt.NDArray[Any]], key: str, default: int | bool) -> Any:
    value = arrays.get(key, np.asarray(default))
    if value.size != 1:
        raise BenchError(f"{source}: {key} has shape {list(value.shape)}; one number is needed")
    return value.item()
