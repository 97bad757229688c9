"""Files of codes: what a run keeps of its evaluation, and anybody's codes. Neither reads nor writes pickles."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path
from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import as_arrays, as_codes, read_codes

KEYS = {"codes", "factors", "n_train", "discrete", "indices", "squared_error", "index"}
"""Arrays of a file with an evaluation."""


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed ``.npz``, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation as ``dbench score`` reads it: ``codes``, ``factors``, ``n_train``, ``discrete``, and, where
    there are any, ``indices``, ``squared_error`` and ``index`` (positions of the images in the dataset).
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


def load_evaluation(path: Path) -> Evaluation:
    """Read what ``save_evaluation`` wrote, or anybody's codes.

    ``codes`` [n, d] and ``factors`` [n, k] are needed. Without ``n_train`` the last third of the rows (rounded down)
    tests; without ``discrete`` the codes are symbols if they are integers. Raises ``BenchError`` for a file that is
    damaged, holds other arrays, arrays that do not fit together, or pickled objects, which are refused unread.
    """
    arrays = _plain_arrays(path)
    codes = as_codes(arrays["codes"])
    discrete = bool(_scalar(path, arrays, "discrete", codes.dtype.kind in "iu"))
    if "indices" in arrays and discrete:
        found = read_codes(Codes(codes, arrays["indices"]), None)
    else:
        found = read_codes(codes, discrete)
    n_train = _scalar(path, arrays, "n_train", len(codes) - len(codes) // 3)
    checked = as_arrays(codes, arrays["factors"], n_train)
    return Evaluation(
        found,
        checked.factors,
        checked.n_train,
        _column(path, arrays, "squared_error", len(codes)),
        _column(path, arrays, "index", len(codes)),
    )


def _column(path: Path, arrays: dict[str, npt.NDArray[Any]], key: str, rows: int) -> npt.NDArray[Any] | None:
    array = arrays.get(key)
    if array is not None and array.shape != (rows,):
        raise BenchError(f"{path}: {key} has shape {list(array.shape)}, codes have {rows} rows")
    return array


def _plain_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise BenchError(f"there is no file {str(path)!r}: give an .npz with codes and factors, or a results folder")
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BenchError(
            f"{path} cannot be read as an .npz of plain arrays ({reason}): save it with numpy.savez, no object arrays"
        ) from error
    missing = sorted({"codes", "factors"} - set(arrays))
    unknown_keys = sorted(set(arrays) - KEYS)
    if missing or unknown_keys:
        raise BenchError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; needed are codes [n, d] and factors [n, k], allowed "
            f"besides are {', '.join(sorted(KEYS - {'codes', 'factors'}))}"
        )
    return arrays


def _scalar(path: Path, arrays: dict[str, npt.NDArray[Any]], key: str, default: int | bool) -> Any:
    value = arrays.get(key, np.asarray(default))
    if value.size != 1:
        raise BenchError(f"{path}: {key} has shape {list(value.shape)}; one number is needed")
    return value.item()
