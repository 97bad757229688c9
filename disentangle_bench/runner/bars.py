"""What people see while data are downloaded, checked and prepared: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from disentangle_bench.data.dataset import Report
from disentangle_bench.data.files import megabytes

LINE_SECONDS = 15.0


@contextmanager
def bars() -> Iterator[Report]:
    """Give the function that is told of progress in bytes, and show it on standard error with speed and time left."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), "left:")
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        tasks = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, completed=done)
            progress.update(tasks[what], completed=done, total=total)

        yield report


class Lines:
    """A ``Report`` that prints a line when something begins, every 15 seconds, and when it is done."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}
        self._printed: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        began, first = self._began.setdefault(what, (now, done))
        whole = total is not None and done >= total
        if what in self._printed and not whole and now - self._printed[what] < LINE_SECONDS:
            return
        self._printed[what] = now
        speed = (done - first) / (now - began) if now > began else 0.0
        of = "" if total is None else f" of {megabytes(total)}"
        rate = f", {speed / 1e6:.1f} MB/s" if speed else ""
        left = f", {(total - done) / speed:.0f} s left" if speed and total is not None and not whole else ""
        print(f"{what}: {megabytes(done)}{of}{rate}{left}", file=sys.stderr, flush=True)
        if whole:  # the next file of this name is a new one
            del self._began[what], self._printed[what]
