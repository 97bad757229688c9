"""Runs on this machine, several at a time: the command's side. ``local_server`` is the other."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

from disentangle_bench.errors import BenchError
from disentangle_bench.processes import Process
from disentangle_bench.runner.attempt import attempt, stopping
from disentangle_bench.runner.executors.base import ENDS, Event, Listen, Work, pairs
from disentangle_bench.runner.resources import Resources


@dataclass(frozen=True)
class Settings:
    """Devices for the runs, one entry for each run at a time."""

    slots: tuple[str, ...]


def parse(resources: Resources) -> Settings:
    """Return the devices that this machine has for runs; there are no settings besides ``Resources``."""
    if pairs("local", resources.executor_settings):
        raise BenchError(f"--executor local has no settings: leave out {resources.executor_settings!r}")
    return Settings(resources.slots())


def execute(work: Work, settings: Settings, listen: Listen) -> None:
    """Do all runs and report to ``listen`` what happens; a failing run does not stop the others.

    A process that has imported torch forks one process for each run, so that a crash ends one run only, memory is
    returned, and the peak memory recorded is that run's. A run whose process is lost (killed, out of memory) is tried
    once more. On KeyboardInterrupt, runs are asked to write a checkpoint and end; a second one kills them. With
    ``jobs=0`` all this happens in the calling process instead, one run after another.
    """
    if work.resources.jobs == 0:
        _here(work, settings.slots[0], listen)
        return
    argument = {
        "specs": [spec.model_dump(mode="json") for spec in work.specs],
        "out": str(work.out),
        "resources": work.resources.model_dump(mode="json"),
        "fresh": work.fresh,
        "slots": settings.slots[: len(work.specs)],
    }
    pids: dict[str, int] = {}
    with Process("disentangle_bench.runner.executors.local_server:serve", argument) as server:
        try:
            _relay(server, listen, pids)
        except BaseException:
            server.close()
            try:
                _relay(server, listen, pids)
            except BaseException:
                for pid in pids.values():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                raise
            raise
        how = server.wait()
        if how != "exit status 0":
            raise BenchError(f"the process that starts runs ended unexpectedly ({how}): give the same command again")


def _relay(server: Process, listen: Listen, pids: dict[str, int]) -> None:
    """Pass the server's events on until it ends; ``pids`` has the process of each run in progress."""
    for pid, fields in server:
        event = Event(*fields)
        pids[event.run_id] = pid
        if event.kind in ENDS:
            del pids[event.run_id]
        listen(event)


def _here(work: Work, device: str, listen: Listen) -> None:
    """Do all runs in this process; the first signal stops the current run, with a checkpoint."""
    resources = work.resources.on(device)
    for spec in work.specs:
        listen(Event(spec.run_id, "started"))

        def report(phase: str, done: int, total: int, run_id: str = spec.run_id) -> None:
            listen(Event(run_id, "progress", phase, done, total))

        with stopping() as should_stop:
            kind, text = attempt(spec, work.out, resources, report, should_stop, fresh=work.fresh)
        listen(Event(spec.run_id, kind, text))
        if should_stop():
            raise KeyboardInterrupt
