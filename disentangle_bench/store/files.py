"""JSON files of a results folder: written whole or not at all, and read with errors that name the file."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.atomic import write_text
from disentangle_bench.errors import BenchError, one_line

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of the JSON files' schema; a change of their structure bumps it."""

LARGEST = 64 * 2**20
"""Size in bytes of the largest JSON file that is read; a record has about ten thousand."""


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically; NaN and infinity, which JSON does not have, become null."""
    write_text(path, json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Return ``value`` as JSON in UTF-8 can hold it: texts for keys, lists for tuples, None for NaN and infinity.

    Bytes of paths that are not text become backslashes and digits.
    """
    if isinstance(value, dict):
        return {finite(str(key)): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of one of the suite's JSON files.

    Raises ``FileNotFoundError`` if there is none, and ``BenchError``, in one line that names it, if it is damaged, not
    of this suite, of a newer version, or not a regular file (a FIFO would block whoever opens it).
    """
    try:
        if not path.is_file():
            path.stat()  # raises if there is no file
            raise BenchError(f"{path} is not a regular file: delete it")
        if path.stat().st_size > LARGEST:
            raise BenchError(f"{path} is larger than {LARGEST >> 20} MiB, so it is not a file of this suite: delete it")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{path} cannot be read as JSON ({one_line(error)}): delete it and run again") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise BenchError(f"{path} is not a file of this suite (it has no 'schema'): point to a folder dbench run made")
    schema = content["schema"]
    if type(schema) is not int or schema < 1:
        raise BenchError(f"{path} has an impossible schema: it is damaged, delete it and run again")
    if schema > SCHEMA:
        raise BenchError(
            f"{path} has schema {one_line(schema)}, this version reads up to {SCHEMA}: upgrade disentangle-bench"
        )
    return content


def digest(path: Path) -> str:
    """Return the SHA-256 (hexadecimal) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for a CSV file: texts are one line without control characters, and none is a formula.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    safe = table.copy()
    for name in safe.select_dtypes(exclude=["number", "bool"]):
        safe[name] = safe[name].map(_safe_cell)
    return safe


def _safe_cell(value: Any) -> Any:
    return _safe_text(value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=4096)  # one text is in many rows
def _safe_text(text: str) -> str:
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def check_results(out: Path) -> None:
    """Raise ``BenchError`` if ``out`` is not a results folder."""
    if not out.is_dir():
        raise BenchError(f"there is no results folder {str(out)!r}: give the folder that dbench run --out wrote to")
    if not (out / "runs").is_dir():
        raise BenchError(f"{str(out)!r} is not a results folder (no 'runs' in it): give what dbench run --out wrote to")


def check_target(path: Path, option: str = "--out") -> None:
    """Raise ``BenchError`` if ``path`` cannot be written; call this before the work whose result goes there."""
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
        raise BenchError(f"{option} {str(path)!r} {problem}: give a file in a folder that exists")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BenchError(f"{option} {str(path)!r} cannot be written ({error.strerror}): give another path") from error
