"""Read codes and factors from CSV, TSV and Parquet tables with columns by name, and from pairs of ``.npy`` files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Evaluation
from disentangle_bench.errors import BenchError, listed, one_line, unknown
from disentangle_bench.scoring.archive import check_start, read_archive
from disentangle_bench.scoring.files import KEYS, NEEDED, evaluation_of

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLES = (*SEPARATORS, ".parquet")
MATRICES = (".npy", *TABLES)
_TYPES = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}


@dataclass(frozen=True)
class Reading:
    """What to read from files: names or patterns of columns (``z*``), and values that override those of an ``.npz``.

    ``bins``, ``n_train`` and ``discrete`` are as for ``evaluation_of``; None leaves them to the file or the default.
    """

    codes_columns: tuple[str, ...] = ()
    factors_columns: tuple[str, ...] = ()
    bins: int | None = None
    n_train: int | None = None
    discrete: bool | None = None

    def evaluation(self, source: str, arrays: dict[str, npt.NDArray[Any]], names: Names = ((), ())) -> Evaluation:
        """Return the evaluation made from arrays by name, with the ``names`` of latents and factors."""
        own = {"n_train": self.n_train, "discrete": self.discrete}
        given = {key: np.asarray(value) for key, value in own.items() if value is not None}
        return evaluation_of(source, arrays | given, self.bins, names)


Names = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of latents and of factors; empty where there are none."""


def read_inputs(
    paths: Sequence[Path], codes: Path | None, factors: Path | None, reading: Reading
) -> dict[str, Evaluation]:
    """Return the evaluation of each of the files ``paths``, or of the pair ``codes`` and ``factors``, by file name.

    Raises ``BenchError`` if neither or both are given, and as ``read_file`` does.
    """
    if codes is not None or factors is not None:
        if codes is None or factors is None or paths:
            raise BenchError("--codes and --factors go together, without other files: give both, or one file with both")
        return {codes.name: read_pair(codes, factors, reading)}
    if not paths:
        raise BenchError("no codes were given: name a file that holds codes and factors, or --codes and --factors")
    names = [path.name for path in paths]
    keys = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return {key: read_file(path, reading) for key, path in zip(keys, paths, strict=True)}


def read_file(path: Path, reading: Reading) -> Evaluation:
    """Return the evaluation of one file with codes and factors: an ``.npz``, or a table with columns of both.

    Raises ``BenchError`` for a file that is missing, damaged or of another kind; for columns that are missing, named
    both as codes and as factors, or do not hold numbers; and for arrays that do not fit together.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        if suffix in MATRICES:
            raise BenchError(f"{path} holds one array: give --codes z.npy --factors y.npy")
        if reading.codes_columns or reading.factors_columns:
            raise BenchError(f"{path} has no columns with names: --codes-columns is for {', '.join(TABLES)}")
        return reading.evaluation(str(path), read_archive(path, NEEDED, KEYS - NEEDED))
    if not reading.codes_columns or not reading.factors_columns:
        raise BenchError(
            f"{path} is a table: name its columns, e.g. --codes-columns 'z*' --factors-columns shape,colour"
        )
    frame = read_table(path)
    codes = columns_of(frame, str(path), reading.codes_columns)
    factors = columns_of(frame, str(path), reading.factors_columns)
    if shared := sorted(set(codes[1]) & set(factors[1])):
        raise BenchError(f"{path}: named as codes and as factors: {one_line(listed(shared))}; choose one of them")
    return reading.evaluation(str(path), {"codes": codes[0], "factors": factors[0]}, (codes[1], factors[1]))


def read_pair(codes: Path, factors: Path, reading: Reading) -> Evaluation:
    """Return the evaluation of two files, each an ``.npy`` or a table; without column names, all columns are read.

    Raises ``BenchError`` as ``read_file`` does.
    """
    values, latents = _matrix(codes, reading.codes_columns)
    labels, names = _matrix(factors, reading.factors_columns)
    return reading.evaluation(f"{codes} and {factors}", {"codes": values, "factors": labels}, (latents, names))


def _matrix(path: Path, patterns: Sequence[str]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return columns_of(read_table(path), str(path), patterns)
    if suffix != ".npy":
        raise BenchError(f"{path} is none of {', '.join(MATRICES)}; give an .npz alone, without --codes and --factors")
    if patterns:
        raise BenchError(f"{path} has no columns with names: leave --codes-columns or --factors-columns out")
    check_start(path)
    try:  # mapped first, so that the size in the header is checked against the file's before anything is allocated
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(stored, np.ndarray):
            raise BenchError(f"{path} is an .npz by its content: rename it, and give it without --codes and --factors")
        return np.array(stored), ()
    except (OSError, ValueError, EOFError, SyntaxError, BadZipFile) as error:
        raise BenchError(
            f"{path} cannot be read as an .npy of plain numbers ({_reason(error)}): save it again"
        ) from error


def read_table(path: Path) -> pd.DataFrame:
    """Return the table in a CSV, TSV or Parquet file.

    Raises ``BenchError`` for a file that is missing or damaged, that has no header line, no rows, or lines with too
    many cells, and for Parquet without pyarrow.
    """
    import pandas as pd

    check_start(path)
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
        else:
            with warnings.catch_warnings():  # cells beyond the header would be dropped with a warning
                warnings.simplefilter("error", pd.errors.ParserWarning)
                separator = SEPARATORS[path.suffix.lower()]
                frame = pd.read_csv(path, sep=separator, index_col=False, skipinitialspace=True, low_memory=False)
    except ImportError as error:
        raise BenchError(f"{path} needs pyarrow: pip install pyarrow") from error
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise BenchError(f"{path} cannot be read as a table ({_reason(error)}): save it again") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    if len(frame.columns) and all(_is_number(name) for name in frame.columns):
        raise BenchError(f"{path} has numbers in its first line, where the names of columns belong: add a header line")
    if not len(frame):
        raise BenchError(f"{path} has no rows: a row for each image is needed")
    return frame


def columns_of(
    frame: pd.DataFrame, source: str, patterns: Sequence[str] = ("*",)
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return the named columns of a DataFrame as one array [n, columns], and their names.

    ``patterns`` are names, or patterns with ``*`` and ``?``; without any, all columns are returned. Raises
    ``BenchError`` for a pattern that matches no column, and for a column with text, a date or a missing number.
    """
    names = [str(name) for name in frame.columns]
    positions: list[int] = []
    for pattern in patterns or ("*",):
        fitting = [i for i, name in enumerate(names) if name == pattern or fnmatchcase(name, pattern)]
        if not fitting:
            raise BenchError(f"{source}: {one_line(unknown('column', pattern, names))}")
        positions += [i for i in fitting if i not in positions]
    columns = [_numbers(frame.iloc[:, i], source, names[i]) for i in positions]
    return np.column_stack(columns), tuple(names[i] for i in positions)


def _numbers(column: pd.Series[Any], source: str, name: str) -> npt.NDArray[Any]:
    """Return a column's numbers; whole ones stay whole."""
    shown = f"{source}: column {one_line(repr(name))}"
    missing = np.flatnonzero(column.isna())
    kind = column.dtype.kind
    if kind not in _TYPES and len(missing) < len(column):
        example = one_line(repr(column.dropna().iloc[0]))[:40]
        raise BenchError(f"{shown} holds {example}; numbers are needed: number its values, e.g. with pandas.factorize")
    if len(missing):
        raise BenchError(f"{shown} has no number at row {missing[0]}: fill the gap, or drop that row everywhere")
    return column.to_numpy(dtype=_TYPES[kind])


def _is_number(name: str) -> bool:
    try:
        float(name)
        return True
    except ValueError:
        return False


def _reason(error: BaseException) -> str:
    return one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
