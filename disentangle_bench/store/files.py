"""JSON files of a results folder: written whole or not at all, and read with errors that name the file."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from disentangle_bench.atomic import write_text
from disentangle_bench.errors import BenchError

SCHEMA = 1
"""Schema of the JSON files; a change of their shape bumps it."""


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically; NaN and infinity, which JSON does not have, become null."""
    write_text(path, json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the suite's JSON files; a damaged or foreign one is a ``BenchError`` that names it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read as JSON ({error}): delete it and run again") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise BenchError(f"{path} is not a file of this suite (it has no 'schema'): point to a folder dbench run made")
    if content["schema"] > SCHEMA:
        raise BenchError(
            f"{path} has schema {content['schema']}, this version reads up to {SCHEMA}: upgrade disentangle-bench"
        )
    return content


def check_target(path: Path) -> None:
    """Raise ``BenchError`` if the file ``path`` could not be written, before the work whose result it is to hold."""
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
        raise BenchError(f"--out {str(path)!r} {problem}: give a file in a folder that exists")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BenchError(f"--out {str(path)!r} cannot be written ({error.strerror}): give another place") from error
