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
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from disentangle_bench import store
from disentangle_bench.spec import RunSpec
from disentangle_bench.train import Interrupted
from disentangle_bench.worker import Place, run_one

STOP_SECONDS = 10.0
REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Event:
    """Something happened to a run: ``kind`` is started, progress, done, failed or stopped; ``text`` is the phase or
    the error; ``done`` of ``total`` counts within the phase.
    """

    run_id: str
    kind: str
    text: str = ""
    done: int = 0
    total: int = 0


@dataclass
class _Active:
    spec: RunSpec
    process: BaseProcess
    connection: Connection
    ended: bool = False


def execute(specs: Sequence[RunSpec], out: Path, place: Place, *, jobs: int, listen: Callable[[Event], None]) -> None:
    """Do all runs, ``jobs`` at a time, telling ``listen`` what happens. A failing run leaves ``failed.json`` and does
    not stop the others. On KeyboardInterrupt the runs are asked to write a checkpoint and end; then it is raised on.
    """
    context = _context()
    waiting, active = deque(specs), list[_Active]()
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                active.append(_start(context, waiting.popleft(), out, place, listen))
            ready = wait([item.connection for item in active] + [item.process.sentinel for item in active])
            for item in list(active):
                if item.connection in ready or item.process.sentinel in ready:
                    _receive(item, listen)
                if not item.process.is_alive():
                    _receive(item, listen)
                    active.remove(item)
                    _finish(item, out, listen)
    finally:
        _stop(active)


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["disentangle_bench.worker"])
    return context


def _start(context: BaseContext, spec: RunSpec, out: Path, place: Place, listen: Callable[[Event], None]) -> _Active:
    receiver, sender = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]
        target=_child, args=(sender, spec.model_dump_json(), out, place), name=spec.run_id, daemon=True
    )
    process.start()
    sender.close()
    listen(Event(spec.run_id, "started"))
    return _Active(spec, process, receiver)


def _receive(item: _Active, listen: Callable[[Event], None]) -> None:
    """Pass on what the process has sent so far."""
    try:
        while item.connection.poll():
            event = Event(*item.connection.recv())
            item.ended |= event.kind in ("done", "failed", "stopped")
            listen(event)
    except (EOFError, OSError):
        pass  # the process has ended; _finish sees how


def _finish(item: _Active, out: Path, listen: Callable[[Event], None]) -> None:
    """A process has ended: if it did not say how the run went, it was lost."""
    item.process.join()
    item.connection.close()
    if item.ended:
        return
    code = item.process.exitcode or 0
    cause = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    hint = " (out of memory is a common cause: try fewer --jobs)" if code == -signal.SIGKILL else ""
    error = f"the process of this run ended unexpectedly: {cause}{hint}"
    store.write_failure(store.run_folder(out, item.spec), item.spec, error, "", out)
    listen(Event(item.spec.run_id, "failed", error))


def _stop(active: Sequence[_Active]) -> None:
    """Ask running processes to write a checkpoint and end; kill those that do not within ten seconds."""
    for item in active:
        item.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for item in active:
        item.process.join(max(0.0, deadline - time.monotonic()))
        if item.process.is_alive():
            item.process.kill()
            item.process.join()


def _child(connection: Connection, spec_json: str, out: Path, place: Place) -> None:
    """The life of one process."""
    spec = RunSpec.model_validate_json(spec_json)
    folder = store.run_folder(out, spec)
    asked_to_stop = False
    last = ("", 0.0)

    def stop(number: int, frame: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase != last[0] or done == total or now - last[1] > REPORT_SECONDS:
            last = (phase, now)
            connection.send((spec.run_id, "progress", phase, done, total))

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        run_one(spec, folder, place, report, lambda: asked_to_stop)
        connection.send((spec.run_id, "done"))
    except Interrupted as interruption:
        connection.send((spec.run_id, "stopped", str(interruption)))
    except BrokenPipeError:
        sys.exit(1)  # nobody listens any more: the command was killed
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        store.write_failure(folder, spec, line, traceback.format_exc(), out)
        connection.send((spec.run_id, "failed", line))
