"""What executors for other machines share: one run in a process there, and what its folder tells meanwhile."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.runner.attempt import Place, Report, ShouldStop, attempt
from disentangle_bench.runner.executors.base import Event, Listen, Work
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import claims, files, runs

ATTEMPTS = 2
"""How often a run is tried whose process is lost."""

PATIENCE = 120.0
"""Seconds that a lost run's second process waits for the first's lock: a dead machine's may be held that long."""


def place(work: Work, device: str) -> Place:
    """Where a run happens, for a machine that sees the same folders by the same absolute names."""
    return Place(device, work.threads, work.data.resolve(), work.track, work.checkpoint_seconds, work.compile)


def do(
    spec: RunSpec, out: Path, place: Place, report: Report, should_stop: ShouldStop, *, fresh: bool, again: bool
) -> tuple[str, str]:
    """``worker.attempt`` on the machine where a run has got to; ``place.device`` is as the user gave it.

    ``again`` says that the run was lost before, so that its lock may be held a while by nobody.
    """
    from disentangle_bench.runner.run import choose_device

    try:
        if "," in place.device:
            raise BenchError(
                f"--devices {place.device!r}: a cluster gives each run its device, so give auto, cpu or cuda"
            )
        place = replace(place, device=choose_device(place.device))
    except BenchError as error:
        runs.write_failure(runs.run_folder(out, spec), spec, str(error), "", out)
        return "failed", str(error)
    deadline = time.monotonic() + (PATIENCE if again else 0)
    while True:
        kind, text = attempt(spec, out, place, report, should_stop, fresh)
        if kind != "busy" or should_stop() or time.monotonic() >= deadline:
            return kind, text
        time.sleep(1)


def fail(spec: RunSpec, out: Path, cause: str, details: str, listen: Listen, times: int = ATTEMPTS) -> None:
    """Record a run that was lost for good, by its cause in one line and what its process wrote."""
    error = f"the process of this run ended unexpectedly, {times} times: {' '.join(cause.split())}"
    with contextlib.suppress(OSError):  # as in attempt: the line still reaches the one who listens
        runs.write_failure(runs.run_folder(out, spec), spec, error, details, out)
    listen(Event(spec.run_id, "failed", error))


class Heartbeats:
    """Turns the heartbeat files of runs into events. What a lost process left behind is not taken for news."""

    def __init__(self, out: Path, listen: Listen) -> None:
        self._out, self._listen = out, listen
        self._last: dict[str, dict[str, Any] | None] = {}

    def expect(self, spec: RunSpec) -> None:
        """A process for this run is about to be asked for."""
        self._last[spec.run_id] = self._read(spec)

    def look(self, spec: RunSpec) -> bool:
        """Tell of progress since the last look. Whether there was any."""
        beat = self._read(spec)
        if beat is None or beat == self._last.get(spec.run_id):
            return False
        self._last[spec.run_id] = beat
        self._listen(Event(spec.run_id, "progress", str(beat["phase"]), int(beat["done"]), int(beat["total"])))
        return True

    def _read(self, spec: RunSpec) -> dict[str, Any] | None:
        try:
            return files.read_json(runs.run_folder(self._out, spec) / claims.PROGRESS)
        except BenchError:
            return None
