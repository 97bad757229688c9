"""Claims on run folders: a lock that one process holds, and the heartbeat that reports its progress."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from disentangle_bench.errors import BenchError
from disentangle_bench.store.files import SCHEMA, read_json, write_json

PROGRESS, LOCK = "progress.json", "run.lock"
BEAT_SECONDS = 5.0
CLAIM_SECONDS = 0.2
"""Seconds for which a claim is tried: a process that only checks whether a run is alive holds its lock for a moment."""


class Busy(Exception):
    """Error: another process is doing this run."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run, so that no other process can do it, even on another machine that shares the file system.

    The lock is the kernel's (flock), so it ends with the process that holds it, however that process ends. Raises
    ``Busy`` if it is held, and ``BenchError`` if the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / LOCK).is_symlink():  # opening it would empty the file that it points to
        (folder / LOCK).unlink()
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=CLAIM_SECONDS, poll_interval=0.02)
    except Timeout:
        holder = read_progress(folder)
        where = f" (process {holder['pid']} on {holder['host']})" if holder else ""
        raise Busy(f"another process is running it{where}") from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        raise BenchError(
            f"the file system of {str(folder)!r} has no file locks (flock): give --out a folder on another one"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_claimed(folder: Path) -> bool:
    """Return whether a process holds the run in ``folder`` now, and so is doing it."""
    path = folder / LOCK
    if path.is_symlink() or not path.is_file():
        return False
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (NotImplementedError, OSError):  # no locks here, or a read-only folder
        return False
    lock.release()
    return False


class _Beat(BaseModel):
    """Content of ``progress.json``."""

    phase: str
    done: int
    total: int
    seconds_left: float | None
    host: str
    pid: int


class Heartbeat:
    """Keep ``progress.json`` in a run's folder up to date for ``dbench status``, and remove it at the end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROGRESS
        self._phase = ""
        self._began = self._written = 0.0
        self._first = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.path.unlink(missing_ok=True)

    def beat(self, phase: str, done: int, total: int) -> None:
        """Note the progress of the run; it is written at most once every few seconds."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._first = phase, now, done
        elif now - self._written < BEAT_SECONDS:
            return
        self._written = now
        steps = done - self._first
        left = (now - self._began) * (total - done) / steps if steps > 0 else None
        content = {
            "schema": SCHEMA,
            "phase": phase,
            "done": done,
            "total": total,
            "seconds_left": left,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        # A full disk must not end the run here: writing the checkpoint will fail if it matters.
        with contextlib.suppress(OSError):
            write_json(self.path, content)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Return the last heartbeat of a run, with its age in seconds by the file system's own clock; None without one."""
    path = folder / PROGRESS
    try:
        content, written = read_json(path), path.stat().st_mtime
        _Beat.model_validate(content, strict=True)
    except (OSError, BenchError, ValidationError):
        return None
    now = time.time()
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    return content | {"age": now - written}
