"""Draws the figures of several tables at a time, in processes of their own.

The processes are commands (``python -m disentangle_bench.report.drawing``) that get their tables through a pipe from
this same program: ``multiprocessing`` would run a user's unguarded script again, or fork a process with threads.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.cores import available
from disentangle_bench.report.scores import SETUP, one_line

if TYPE_CHECKING:
    from disentangle_bench.report.figures import Table

WORTHWHILE = 12
"""Setups in all tables from which on starting processes (a second or two each) pays."""

Drawn = list[tuple[list[Path], list[str]]]
"""For each table, in order: the files written, and remarks."""


def draw(tables: Sequence[Table], say: Callable[[str], None]) -> Drawn:
    """Draw all tables, on as many cores as there are where it is worthwhile."""
    from disentangle_bench.report.figures import draw_table

    sizes = [len(table.board[SETUP].drop_duplicates()) for table in tables]
    jobs = min(available(), len(tables)) if sum(sizes) >= WORTHWHILE else 1
    if jobs < 2:
        made: Drawn = []
        for table in tables:
            say(f"figures of {one_line(table.title)}")
            made.append(draw_table(table))
        return made
    say(f"figures of {len(tables)} tables, {jobs} at a time")
    # The largest first, each to the process that has the least to do.
    shares: list[list[int]] = [[] for _ in range(jobs)]
    for place in sorted(range(len(tables)), key=lambda place: -sizes[place]):
        min(shares, key=lambda share: sum(sizes[one] for one in share)).append(place)
    found: dict[int, tuple[list[Path], list[str]]] = {}
    with ThreadPoolExecutor(jobs) as threads:
        for share, part in zip(shares, threads.map(lambda share: _elsewhere([tables[i] for i in share]), shares),
                               strict=True):  # fmt: skip
            found |= dict(zip(share, part, strict=True))
    return [found[place] for place in range(len(tables))]


def _elsewhere(tables: list[Table]) -> Drawn:
    """Draw these tables in a process of their own."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    words = [sys.executable, "-m", "disentangle_bench.report.drawing"]
    done = subprocess.run(
        words, input=pickle.dumps(tables), capture_output=True, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        raise RuntimeError(f"drawing failed: {done.stderr.decode(errors='replace')[-2000:]}")
    drawn: Drawn = pickle.loads(done.stdout)
    return drawn


def _main() -> None:
    from disentangle_bench.report.figures import draw_table

    tables: Any = pickle.load(sys.stdin.buffer)
    answer, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing else may get into the answer
    answer.write(pickle.dumps([draw_table(table) for table in tables]))
    answer.flush()


if __name__ == "__main__":
    _main()
