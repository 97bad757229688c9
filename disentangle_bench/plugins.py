"""Plug-ins in one Python file: a model, dataset, metric or network that is known by its file's content. No torch here.

The file is executed as a module of its own, in every process that needs it; a copy in the results folder,
``plugins/<SHA-256>.py``, serves processes on other machines and later commands. It may import what is installed, but
not other files beside it.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from disentangle_bench import cells
from disentangle_bench.atomic import write_text
from disentangle_bench.errors import BenchError, torch_needed

if TYPE_CHECKING:
    from disentangle_bench.spec import File

FOLDER = "plugins"
_WORD = re.compile(r"(?P<path>.+\.py)(?::(?P<attribute>\w+))?")
_KEPT = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Try)


@dataclass(frozen=True)
class Source:
    """Text of a file, and the path that it was read from."""

    path: Path
    text: str

    @property
    def file(self) -> File:
        """Identity of the file: the SHA-256 of its content, with its path as a remark."""
        from disentangle_bench.spec import File  # pydantic, which only those who ask for an identity wait for

        return File(path=str(self.path), sha256=hashlib.sha256(self.text.encode()).hexdigest())


_SOURCES: dict[str, Source] = {}
"""Sources that this process has read, by their SHA-256."""


def is_file(word: str) -> bool:
    """Return whether a name is the path of a Python file, with or without ``:Name`` after it."""
    return _WORD.fullmatch(word) is not None


def read(word: str) -> tuple[Source, str | None]:
    """Return the file that ``path.py`` or ``path.py:Name`` names, and the name in it that was asked for."""
    match = _WORD.fullmatch(word)
    assert match is not None
    path = Path(match["path"])
    try:
        source = Source(path.resolve(), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BenchError(f"{str(path)!r} cannot be read ({reason}): give the path of a Python file") from error
    return source, match["attribute"]


def of_class(thing: type) -> tuple[Source, str]:
    """Return the source of a class that was given as an object, and its name there.

    Of a script that is being executed, only imports, definitions and plain values are kept, so that importing it in
    another process does not run it. A class from a notebook cell becomes a module of its own (see ``cells``). Raises
    ``BenchError`` for a class without a source.
    """
    try:
        path = Path(inspect.getsourcefile(thing) or "")
        text = path.read_text(encoding="utf-8")
        names = {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    except (TypeError, OSError, ValueError, SyntaxError):
        names = set()
    if thing.__qualname__ not in names:
        if thing.__module__ == "__main__" and (cell := cells.text_of(thing)) is not None:
            return Source(Path(f"{thing.__name__}.py, written from a notebook"), cell), thing.__name__
        raise BenchError(
            f"{thing.__qualname__} is not at the top of a Python file, so other processes cannot import it: in a "
            f"notebook put it into a cell that begins with %%writefile my_file.py, and give 'my_file.py'"
        )
    return Source(path.resolve(), _definitions(text) if thing.__module__ == "__main__" else text), thing.__name__


def _definitions(text: str) -> str:
    """Return a script with all but imports, definitions and plain values blanked out; line numbers stay."""
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if isinstance(node, _KEPT) or (isinstance(node, ast.Assign | ast.AnnAssign) and _is_plain(node.value)):
            continue
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = "\n"
    return "".join(lines)


def _is_plain(value: ast.expr | None) -> bool:
    try:
        ast.literal_eval(value or "None")
        return True
    except ValueError:
        return False


def load(source: Source) -> ModuleType:
    """Return the source as a module, executed once per process.

    Raises ``BenchError``, which names the file and the line, for any exception that the source raises.
    """
    sha256 = source.file.sha256
    name = f"disentangle_bench_plugin_{sha256[:16]}"
    _SOURCES.setdefault(sha256, source)
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(source.path)
    sys.modules[name] = module
    try:
        with torch_needed():
            exec(compile(source.text, str(source.path), "exec"), module.__dict__)
    except BenchError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = _line(error, str(source.path))
        raise BenchError(
            f"{source.path}{line} cannot be imported: {type(error).__name__}: {error}. Mend the file; it may import "
            "what is installed, but no other file beside it"
        ) from error
    return module


def _line(error: BaseException, path: str) -> str:
    """Return ``:NUMBER`` for the innermost line of the file that an error came through; nothing if there is none."""
    number, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f":{number}" if number else ""


def keep(file: File, out: Path) -> None:
    """Copy a file that this process has read into a results folder, unless it is already there."""
    path = out / FOLDER / f"{file.sha256}.py"
    if not path.exists() and file.sha256 in _SOURCES:
        write_text(path, _SOURCES[file.sha256].text)


def kept(file: File, out: Path) -> Source:
    """Return the copy of a file in a results folder; raise ``BenchError`` if it is missing or has changed."""
    if file.sha256 in _SOURCES:
        return _SOURCES[file.sha256]
    path = out / FOLDER / f"{file.sha256}.py"
    advice = f"give the same dbench run again, with {file.path}"
    try:
        source = Source(path.resolve(), path.read_bytes().decode())
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}, the copy of {file.path}, cannot be read: {advice}") from error
    if source.file.sha256 != file.sha256:
        raise BenchError(f"{path}, the copy of {file.path}, was changed: {advice}")
    return source


def version(file: File) -> int:
    """Return the version of what a file holds: 52 bits of its SHA-256, so that new content is a new version."""
    return int(file.sha256[:13], 16)
