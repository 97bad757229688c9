"""Runs on this machine: one process each, several at a time.

A process of its own per run means that a crash takes one run with it, that memory is given back, and that the peak
memory recorded is that run's. Where the system can, processes are forked from a server that has imported torch
already, so that starting one takes milliseconds.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from disentangle_bench.runner.attempt import Place, attempt, stopping
from disentangle_bench.runner.executors.base import ENDS, Event, Listen, Options, Work
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import runs

STOP_SECONDS = 10.0
REPORT_SECONDS = 0.2
ATTEMPTS = 2


@dataclass
class _Active:
    """A run in its process, and the device that it occupies."""

    spec: RunSpec
    device: str
    attempt: int
    process: BaseProcess
    connection: Connection
    ended: bool = False


def execute(work: Work, listen: Listen, options: Options) -> None:
    """Do all runs and tell ``listen`` what happens. A failing run does not stop the others.

    ``options["slots"]`` names a device for each run that may go at a time. A run whose process is lost (killed, out of
    memory) is tried once more in a new one. On KeyboardInterrupt the runs are asked to write a checkpoint and end;
    a second one ends them at once.
    """
    context = _context()
    free: list[str] = list(options["slots"])
    waiting, active = deque((spec, 1) for spec in work.specs), list[_Active]()
    try:
        while waiting or active:
            while waiting and free:
                active.append(_start(context, *waiting.popleft(), free.pop(0), work, listen))
            ready = wait([item.connection for item in active] + [item.process.sentinel for item in active])
            for item in list(active):
                if item.connection in ready or item.process.sentinel in ready:
                    _receive(item, listen)
                if not item.process.is_alive():
                    _receive(item, listen)
                    active.remove(item)
                    free.append(item.device)
                    if _lost(item, work.out, listen):
                        waiting.appendleft((item.spec, item.attempt + 1))
    finally:
        _stop(active, listen)


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["disentangle_bench.runner.executors.forkserver"])
    return context


def _start(context: BaseContext, spec: RunSpec, number: int, device: str, work: Work, listen: Listen) -> _Active:
    receiver, sender = context.Pipe(duplex=False)
    place = Place(device, work.threads, work.data, work.track, work.checkpoint_seconds, work.compile)
    arguments = (sender, spec.model_dump_json(), work.out, place, work.fresh and number == 1)
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]
        target=_child, args=arguments, name=spec.run_id, daemon=True
    )
    process.start()
    sender.close()
    listen(Event(spec.run_id, "started" if number == 1 else "retried"))
    return _Active(spec, device, number, process, receiver)


def _receive(item: _Active, listen: Listen) -> None:
    """Pass on what the process has sent so far."""
    try:
        while item.connection.poll():
            event = Event(*item.connection.recv())
            item.ended |= event.kind in ENDS
            listen(event)
    except (EOFError, OSError):
        pass  # the process has ended; its exit code says how


def _lost(item: _Active, out: Path, listen: Listen) -> bool:
    """A process has ended. Whether the run was lost and is to be tried again; lost for good, it is a failure."""
    item.process.join()
    item.connection.close()
    if item.ended:
        return False
    if item.attempt < ATTEMPTS:
        return True
    code = item.process.exitcode or 0
    cause = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    hint = " (out of memory is a common cause: try fewer --jobs)" if code == -signal.SIGKILL else ""
    error = f"the process of this run ended unexpectedly, {ATTEMPTS} times: {cause}{hint}"
    runs.write_failure(runs.run_folder(out, item.spec), item.spec, error, "", out)
    listen(Event(item.spec.run_id, "failed", error))
    return False


def _stop(active: Sequence[_Active], listen: Listen) -> None:
    """Ask running processes to write a checkpoint and end; kill those that do not within ten seconds."""
    try:
        for item in active:
            item.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for item in active:
            item.process.join(max(0.0, deadline - time.monotonic()))
            _receive(item, listen)
    finally:  # also on a second KeyboardInterrupt, at once
        for item in active:
            if item.process.is_alive():
                item.process.kill()
                item.process.join()


def _child(connection: Connection, spec_json: str, out: Path, place: Place, fresh: bool) -> None:
    """The life of one process."""
    spec = RunSpec.model_validate_json(spec_json)
    last = ("", 0.0)

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase != last[0] or done == total or now - last[1] > REPORT_SECONDS:
            last = (phase, now)
            connection.send((spec.run_id, "progress", phase, done, total))

    try:
        with stopping() as should_stop:
            kind, text = attempt(spec, out, place, report, should_stop, fresh)
        connection.send((spec.run_id, kind, text))
    except BrokenPipeError:
        sys.exit(1)  # nobody listens any more: the command was killed
