"""Number of threads that the metrics' kernels may use. Their results do not depend on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_limit: ContextVar[int | None] = ContextVar("limit", default=None)


def available() -> int:
    """Return the limit in force, or else the number of processors this process may use (under Slurm, not all)."""
    limit = _limit.get()
    if limit is not None:
        return limit
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Limit kernels in this context to ``threads`` threads, so that several runs can share a machine."""
    token = _limit.set(threads)
    try:
        yield
    finally:
        _limit.reset(token)
