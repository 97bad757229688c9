"""Read the files beside a run's record that the figures and the page use: arrays and the training history.

A file may be damaged, foreign, from another version, or written by hand. Reading it returns its content or raises
``Unreadable``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.errors import one_line

if TYPE_CHECKING:
    import pandas as pd


class Unreadable(Exception):
    """A companion file is damaged; the text says how."""


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an ``.npz`` file. Raises ``FileNotFoundError`` or ``Unreadable``."""
    _check(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:
        # A flipped bit makes zlib, zipfile, numpy's header parser or the allocator raise, each with its own error.
        raise Unreadable(one_line(f"{type(error).__name__}: {error}")) from error


def read_history(path: Path) -> pd.DataFrame:
    """Return the numeric columns of a ``history.csv``, with ``step``. Raises the same errors as ``read_arrays``."""
    import pandas as pd

    _check(path)
    try:
        numbers = pd.read_csv(path).select_dtypes("number")
    except Exception as error:
        raise Unreadable(one_line(f"{type(error).__name__}: {error}")) from error
    if "step" not in numbers or numbers.empty:
        raise Unreadable("it has no column 'step'")
    return numbers


def _check(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file():
        raise Unreadable("it is no regular file")
