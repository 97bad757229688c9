"""How many threads the metrics' kernels may use. Their results do not depend on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_limit: ContextVar[int | None] = ContextVar("limit", default=None)


def available() -> int:
    """The limit that is in force, else the processors this process may use, which under Slurm are fewer than all."""
    limit = _limit.get()
    if limit is not None:
        return limit
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Within, kernels use at most ``threads`` threads: for several runs at a time on one machine."""
    token = _limit.set(threads)
    try:
        yield
    finally:
        _limit.reset(token)
