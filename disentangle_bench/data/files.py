"""The data folder of this machine, and checks and locks for the files in it."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from disentangle_bench.data.dataset import OfficialFile, Report, silent
from disentangle_bench.errors import BenchError

_log = logging.getLogger(__name__)

VARIABLE = "DBENCH_DATA"
"""The environment variable that names the data folder."""

CHUNK = 2**22
"""Bytes read at a time when a file is read from start to end."""


def expanded(path: str | Path) -> Path:
    """Return ``path`` with ``~`` expanded; raise ``BenchError`` for a user who does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BenchError(f"the path {str(path)!r} names a user who does not exist; write the path in full.") from error


def check_writable(folder: Path) -> None:
    """Raise ``OSError`` if no file can be created in ``folder``, where waiting for a lock would be in vain."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def data_folder(given: str | Path | None = None) -> Path:
    """Return the folder of datasets: ``given``, else $DBENCH_DATA, else the user's cache folder; created if absent.

    It need not be writable: a shared folder of prepared datasets will do, and drawn datasets need no folder. Raises
    ``BenchError`` if it is not a folder.
    """
    folder = expanded(
        given or os.environ.get(VARIABLE) or platformdirs.user_cache_path("disentangle-bench", appauthor=False)
    ).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.scandir(folder):
            pass
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError) or error.errno == errno.EROFS:
            _log.warning("the data folder %s cannot be created (%s); drawn datasets do without", folder, error.strerror)
            return folder
        reason = error.strerror or str(error)
        raise BenchError(
            f"the data folder {folder} cannot be used ({reason}); give another folder, or set {VARIABLE} to one."
        ) from error
    return folder


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of ``target`` (``<name>.lock`` beside it), which the system releases when the process ends."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_writable(target.parent)
        lock = FileLock(target.with_name(target.name + ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("another process is working on %s; waiting for it", target)
            lock.acquire()
    except OSError as error:
        raise BenchError(
            f"{target.parent} cannot be written ({error.strerror or error}): it can hold prepared datasets, but not "
            f"prepare {target.name}; give a data folder that can be written, or set {VARIABLE} to one."
        ) from error
    try:
        yield
    finally:
        lock.release()


def digest(path: Path, algorithm: str = "sha256", report: Report = silent) -> str:
    """Return the checksum of a whole file, hexadecimal."""
    total, done, state = path.stat().st_size, 0, hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            done += len(chunk)
            report(f"checking {path.name.removesuffix('.part')}", done, total)
    return state.hexdigest()


def json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is no file or it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def problem(path: Path, official: OfficialFile, report: Report = silent) -> str:
    """Return what is wrong with ``path`` as a copy of ``official``, as the end of a sentence; empty if nothing is.

    A checksum that differs from an advisory one is logged, not rejected.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if fault := other_content(head):
        return fault
    if not size:
        return "is empty"
    if official.size is not None and size != official.size:
        return f"has {size} bytes and the official file {official.size}"
    for name, wanted in (("SHA-256", official.sha256), ("MD5", official.md5)):
        if wanted:
            actual = digest(path, name.replace("-", "").lower(), report)
            if actual == wanted:
                return ""
            fault = f"has the {name} {actual}, not {wanted}"
            if not official.advisory:
                return fault
            _log.warning("%s %s, that of an earlier upload: its content is checked instead", path, fault)
            return ""
    return ""


def other_content(head: bytes) -> str:
    """Return what a file beginning with ``head`` is instead of data, as the end of a sentence; empty if it is data."""
    if is_page(head):
        return "is a web page and not the file itself; the server wanted an answer from a person"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself; run `git lfs pull` where it came from"
    return ""


def is_page(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a web page."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


def megabytes(size: float | None) -> str:
    """Return a size in bytes as readable text."""
    if size is None:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
