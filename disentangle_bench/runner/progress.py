"""Progress of runs and of downloads: bars with the time left on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from disentangle_bench.data.dataset import Report
from disentangle_bench.data.files import megabytes
from disentangle_bench.runner.executors.base import ENDS, Event
from disentangle_bench.store.status import duration

LINE_SECONDS = 15.0
"""Shortest time in seconds between two plain lines about the same thing."""


class Bars:
    """Bars by name on standard error, or lines where no bars can be drawn. A closed terminal is not an error."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        # Without ipywidgets, rich would draw nothing in a notebook and warn at every change.
        drawable = not self.console.is_jupyter or find_spec("ipywidgets") is not None
        self.drawn = drawable and (self.console.is_terminal or self.console.is_jupyter)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=self.console, disable=not self.drawn)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._bars.stop()

    def draw(self, name: str, done: int, total: int | None, count: str) -> None:
        """Set a bar; ``count`` is the text beside it."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, completed=done, count=count)
        self._bars.update(self._tasks[name], completed=done, total=total, count=count)

    def remove(self, name: str) -> None:
        """Remove a bar if it is there."""
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def print(self, text: str) -> None:
        """Print a line above the bars."""
        with contextlib.suppress(OSError):
            if self.drawn:
                self.console.print(text, highlight=False, markup=False)
            else:
                print(text, file=sys.stderr, flush=True)


@dataclass
class _Pace:
    """Start time and first count of something, and the time when a line about it was last printed."""

    began: float
    first: int
    printed: float | None = None

    def due(self, now: float) -> bool:
        """Return whether it is time for a line; if so, count it as printed."""
        if self.printed is not None and now - self.printed < LINE_SECONDS:
            return False
        self.printed = now
        return True

    def left(self, now: float, done: int, total: int | None) -> str:
        """Return the time left, such as ``, 10 s left``; an empty text if it is not known or nothing is left."""
        if total is None or done <= self.first or done >= total:
            return ""
        return f", {duration((now - self.began) * (total - done) / (done - self.first))} left"


class Display:
    """Display of the events of an executor."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.finished = 0
        self._pace = _Pace(time.monotonic(), 0)
        self.bars = Bars()
        self._phases: dict[str, str] = {}
        self._paces: dict[str, _Pace] = {}

    def __enter__(self) -> Self:
        self.bars.__enter__()
        self._draw_overall()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.__exit__(kind, error, trace)

    def listen(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "progress":
            self._progress(event)
            return
        if event.kind in ENDS:
            self.finished += 1
            self.bars.remove(self._phases.pop(event.run_id, ""))
            self._draw_overall()
        detail = f": {event.text}" if event.text else ""
        left = self._pace.left(time.monotonic(), self.finished, self.runs) if event.kind in ENDS else ""
        self.bars.print(f"[{self.finished}/{self.runs}{left}] {event.run_id} {event.kind}{detail}")

    def _draw_overall(self) -> None:
        self.bars.draw("all runs", self.finished, self.runs, f"{self.finished}/{self.runs}")

    def _progress(self, event: Event) -> None:
        name, count, now = f"  {event.run_id} {event.text}", f"{event.done}/{event.total}", time.monotonic()
        before = self._phases.get(event.run_id)
        if before != name:
            self.bars.remove(before or "")
            # The line that says that a run has begun has already been printed.
            printed = self._paces[event.run_id].printed if before else now
            self._phases[event.run_id], self._paces[event.run_id] = name, _Pace(now, event.done, printed)
        if self.bars.drawn:
            self.bars.draw(name, event.done, event.total, count)
        elif self._paces[event.run_id].due(now):
            left = self._paces[event.run_id].left(now, event.done, event.total)
            self.bars.print(f"    {name} {count}{left}")


@contextmanager
def downloads() -> Iterator[Report]:
    """Yield the progress callback for downloads, checks and preparations, which are counted in bytes."""
    with Bars() as bars:
        paces: dict[str, _Pace] = {}

        def report(what: str, done: int, total: int | None) -> None:
            now = time.monotonic()
            pace = paces.setdefault(what, _Pace(now, done))
            speed = (done - pace.first) / (now - pace.began) if now > pace.began else 0.0
            count = megabytes(done) + ("" if total is None else f" of {megabytes(total)}")
            count += f", {speed / 1e6:.1f} MB/s" if speed else ""
            if bars.drawn:
                bars.draw(what, done, total, count)
            elif (total is not None and done >= total) or pace.due(now):
                bars.print(f"{what}: {count}{pace.left(now, done, total)}")
            if total is not None and done >= total:  # the next file of this name is a new one
                del paces[what]

        yield report
