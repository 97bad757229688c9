"""Parts of executors for other machines: one run in a process there, and its progress as read from its folder."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.runner.attempt import Report, ShouldStop, attempt
from disentangle_bench.runner.executors.base import ATTEMPTS, Event, Listen, Work
from disentangle_bench.runner.resources import Resources, choose_device
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import claims, files, runs

PATIENCE = 120.0
"""Seconds that a lost run's second process waits for the lock of its first, which a dead machine may hold that long."""


def resources(work: Work, device: str) -> Resources:
    """Return a run's resources for a machine that sees the same folders under the same absolute paths."""
    return work.resources.model_copy(update={"devices": device, "data": work.resources.data.resolve()})


def do(
    spec: RunSpec,
    out: Path,
    resources: Resources,
    report: Report,
    should_stop: ShouldStop,
    *,
    fresh: bool,
    again: bool,
) -> tuple[str, str]:
    """Call ``attempt`` on the machine assigned to a run; ``resources.devices`` is as the user gave it.

    ``again`` says that the run was lost before, so that a dead process may still hold its lock for a while.
    """
    try:
        if "," in resources.devices:
            raise BenchError(
                f"--devices {resources.devices!r}: a cluster gives each run its device, so give auto, cpu or cuda"
            )
        resources = resources.on(choose_device(resources.devices))
    except BenchError as error:
        runs.write_failure(runs.run_folder(out, spec), spec, str(error), "", out)
        return "failed", str(error)
    deadline = time.monotonic() + (PATIENCE if again else 0)
    while True:
        kind, text = attempt(spec, out, resources, report, should_stop, fresh=fresh)
        if kind != "busy" or should_stop() or time.monotonic() >= deadline:
            return kind, text
        time.sleep(1)


def fail(spec: RunSpec, out: Path, cause: str, details: str, listen: Listen, times: int = ATTEMPTS) -> None:
    """Record that a run was lost for good, with the cause in one line and what its process wrote."""
    error = f"the process of this run ended unexpectedly, {times} times: {' '.join(cause.split())}"
    with contextlib.suppress(OSError):  # as in attempt: the line still reaches the listener
        runs.write_failure(runs.run_folder(out, spec), spec, error, details, out)
    listen(Event(spec.run_id, "failed", error))


class Heartbeats:
    """Turn the heartbeat files of runs into events; stale heartbeats are ignored."""

    def __init__(self, out: Path, listen: Listen) -> None:
        self._out, self._listen = out, listen
        self._last: dict[str, dict[str, Any] | None] = {}

    def expect(self, spec: RunSpec) -> None:
        """Note the heartbeat that exists before a process for this run is requested, since it is stale."""
        self._last[spec.run_id] = self._read(spec)

    def look(self, spec: RunSpec) -> bool:
        """Pass on progress since the last call; return whether there was any."""
        beat = self._read(spec)
        if beat is None or beat == self._last.get(spec.run_id):
            return False
        self._last[spec.run_id] = beat
        self._listen(Event(spec.run_id, "progress", str(beat["phase"]), int(beat["done"]), int(beat["total"])))
        return True

    def _read(self, spec: RunSpec) -> dict[str, Any] | None:
        try:
            return files.read_json(runs.run_folder(self._out, spec) / claims.PROGRESS)
        except (FileNotFoundError, BenchError):  # none yet, or one that a lost process left half-written
            return None
