"""Keeping the report of a running grid up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from disentangle_bench.errors import BenchError
from disentangle_bench.store import runs

SECONDS = 15
"""Between two looks at the folder, and between two looks of the page at itself."""


def watch(
    out: Path, make: Callable[[], object], say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Call ``make`` now and whenever a run of the results folder ``out`` was finished or failed, until interrupted.

    As long as no run is finished, that is said once and waited for. After a report that took long the next look is the
    later: it takes a fifth of the time at most.
    """
    seen: object = None
    waiting = False
    while True:
        began = time.monotonic()
        state = _state(out)
        if state != seen:
            try:
                make()
                seen, waiting = state, False
            except BenchError as error:
                if any((out / "runs").glob(f"*/{runs.RECORD}")):
                    raise
                if not waiting:
                    say(f"waiting: {error}")
                waiting = True
        sleep(max(SECONDS, 4 * (time.monotonic() - began)))


def _state(out: Path) -> frozenset[tuple[str, int]]:
    """Which records and failures there are, and of when."""
    found = set()
    for name in (runs.RECORD, runs.FAILED):
        for path in (out / "runs").glob(f"*/{name}"):
            try:
                found.add((str(path), path.stat().st_mtime_ns))
            except OSError:  # it was taken away in between: a failed run that is tried again
                continue
    return frozenset(found)
