"""Claims on run folders: a lock that one process holds, and the heartbeat that says how far it is."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from disentangle_bench.errors import BenchError
from disentangle_bench.store.files import SCHEMA, read_json, write_json

PROGRESS, LOCK = "progress.json", "run.lock"
BEAT_SECONDS = 5.0


class Busy(Exception):
    """Another process is doing this run."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run: no other process, also on another machine that shares the file system, can do it meanwhile.

    The lock is the kernel's (flock), so it ends with the process that holds it, however that dies. Raises ``Busy``
    if it is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        holder = read_progress(folder)
        where = f" (process {holder['pid']} on {holder['host']})" if holder else ""
        raise Busy(f"another process is running it{where}") from None
    try:
        yield
    finally:
        lock.release()


class Heartbeat:
    """Keeps ``progress.json`` in a run's folder up to date for ``dbench status``, and removes it at the end."""

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
        """Note how far the run is; written every few seconds."""
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
        # A full disk must not end the run here: the checkpoint will say so if it matters.
        with contextlib.suppress(OSError):
            write_json(self.path, content)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """What a run's heartbeat said last, with its age in seconds by the file system's own clock; None without one."""
    path = folder / PROGRESS
    try:
        content, written = read_json(path), path.stat().st_mtime
    except (OSError, BenchError):
        return None
    now = time.time()
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    return content | {"age": now - written}
