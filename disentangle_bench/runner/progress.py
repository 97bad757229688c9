"""What people see while runs are going: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from disentangle_bench.runner.executors.base import ENDS, Event

LINE_SECONDS = 15.0


@dataclass
class _Line:
    """The phase of a run, when it began and at what count, and when a line was last printed."""

    phase: str
    began: float
    done: int
    printed: float


class Display:
    """Listens to an executor's events and shows them on standard error."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.finished = 0
        self.console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._overall = self._bars.add_task("all runs", total=runs)
        self._tasks: dict[str, tuple[str, TaskID]] = {}
        self._lines: dict[str, _Line] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def listen(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "progress":
            (self._bar if self.console.is_terminal else self._line)(event)
            return
        self.finished += event.kind in ENDS
        if event.kind in ENDS:
            if event.run_id in self._tasks:
                self._bars.remove_task(self._tasks.pop(event.run_id)[1])
            self._bars.update(self._overall, completed=self.finished)
        detail = f": {event.text}" if event.text else ""
        self._print(f"[{self.finished}/{self.runs}] {event.run_id} {event.kind}{detail}")

    def _bar(self, event: Event) -> None:
        phase, task = self._tasks.get(event.run_id, ("", None))
        if phase != event.text:
            if task is not None:
                self._bars.remove_task(task)
            task = self._bars.add_task(f"  {event.run_id} {event.text}", total=event.total)
            self._tasks[event.run_id] = (event.text, task)
        assert task is not None
        self._bars.update(task, completed=event.done)

    def _line(self, event: Event) -> None:
        now = time.monotonic()
        line = self._lines.setdefault(event.run_id, _Line("", now, 0, now))
        if line.phase != event.text:
            line.phase, line.began, line.done = event.text, now, event.done
        if now - line.printed < LINE_SECONDS:
            return
        line.printed = now
        left = ""
        if event.done > line.done:
            seconds = (now - line.began) * (event.total - event.done) / (event.done - line.done)
            left = f", {seconds:.0f} s left"
        self._print(f"      {event.run_id} {event.text} {event.done}/{event.total}{left}")

    def _print(self, text: str) -> None:
        if self.console.is_terminal:
            self._bars.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)
