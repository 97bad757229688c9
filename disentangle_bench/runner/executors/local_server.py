"""Process from which the runs of this machine are forked: it has imported torch, so that a run starts quickly.

The command talks to it through pipes (``local``). If the command ends, however that happens, its runs are asked to
write a checkpoint and end.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.cores import available
from disentangle_bench.processes import Channel, cause
from disentangle_bench.runner.attempt import attempt, stopping
from disentangle_bench.runner.executors.base import ATTEMPTS, ENDS, STOP_SECONDS, Event, Work
from disentangle_bench.runner.resources import Resources
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import runs

REPORT_SECONDS = 0.2
RELEASED = "released"
"""Kind of the message which says that a run no longer needs its device."""


@dataclass
class _Active:
    """A run in its process, and the device that it occupies; None once only scoring is left."""

    spec: RunSpec
    device: str | None
    attempt: int
    process: BaseProcess
    connection: Connection
    scoring: bool = False
    ended: bool = False


def serve(argument: dict[str, Any], channel: Channel) -> None:
    """Do the runs of ``argument``, which ``local.execute`` made; send ``[pid, fields of the event]`` for each event."""
    work = Work(
        [RunSpec.model_validate(spec) for spec in argument["specs"]],
        Path(argument["out"]),
        Resources.model_validate(argument["resources"]),
        argument["fresh"],
    )
    if set(argument["slots"]) == {"cpu"}:
        _preload()
    _Server(work, argument["slots"], channel).run()


def _preload() -> None:
    """Import what runs import when they begin to train and to score, so that each forked process already has it.

    This is for CPUs only: a forked process cannot use CUDA if an import has queried the devices before the fork.
    """
    if hasattr(os, "fork"):
        torch.optim.SGD([torch.zeros(1)])  # making the first optimizer imports torch._dynamo: two seconds
        importlib.import_module("disentangle_bench.metrics._trees")
        importlib.import_module("disentangle_bench.metrics._logistic")


class _Server:
    """Waiting runs, runs in progress, and free devices."""

    def __init__(self, work: Work, slots: Sequence[str], channel: Channel) -> None:
        self.work, self.channel = work, channel
        self.free = deque(slots)
        self.scorers = max(1, available() // work.resources.threads - len(slots))
        self.waiting = deque((spec, 1) for spec in work.specs)
        self.active: list[_Active] = []
        # On a system that cannot fork, each run gets a fresh process instead.
        self.forks = hasattr(os, "fork")
        self.context: Any = multiprocessing.get_context("fork" if self.forks else "spawn")

    def run(self) -> None:
        """Work until no run is left or the command has closed its end of the pipe."""
        command = _command()
        try:
            while self.waiting or self.active:
                while self.waiting and self.free:
                    self._start(*self.waiting.popleft(), self.free.popleft())
                sources = [item.connection for item in self.active] + [item.process.sentinel for item in self.active]
                ready = wait([command, *sources])
                if command in ready:
                    break
                for item in list(self.active):
                    if item.connection in ready or item.process.sentinel in ready:
                        self._receive(item)
                    if not item.process.is_alive():
                        self._receive(item)
                        self._ended(item)
        finally:
            self._stop()

    def _tell(self, item: _Active, event: Event) -> None:
        item.ended |= event.kind in ENDS
        self.channel.send([item.process.pid, [event.run_id, event.kind, event.text, event.done, event.total]])

    def _start(self, spec: RunSpec, number: int, device: str) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        resources = self.work.resources.on(device).model_dump_json()
        arguments = (sender, spec.model_dump_json(), self.work.out, resources, self.work.fresh and number == 1)
        # A forked process inherits the ends of all pipes. Unless it closes them, nobody notices when this process ends.
        inherited = [self.channel, receiver, *(item.connection for item in self.active)] if self.forks else []
        process = self.context.Process(target=_child, args=(inherited, *arguments), name=spec.run_id)
        process.start()
        sender.close()
        item = _Active(spec, device, number, process, receiver)
        self.active.append(item)
        self._tell(item, Event(spec.run_id, "started" if number == 1 else "retried"))

    def _receive(self, item: _Active) -> None:
        """Pass on what the process has sent so far."""
        try:
            while item.connection.poll():
                event = Event(*item.connection.recv())
                if event.kind == RELEASED:
                    item.scoring = True
                    self._release()
                else:
                    self._tell(item, event)
        except (EOFError, OSError):
            pass  # the process has ended; its exit code says how

    def _release(self) -> None:
        """Free the accelerators of runs that only score, as long as there are cores to score on.

        On a CPU, scoring takes a core just as training does, so nothing is freed.
        """
        for item in self.active:
            scorers = sum(other.device is None for other in self.active)
            if item.scoring and item.device not in (None, "cpu") and scorers < self.scorers:
                self.free.append(item.device)
                item.device = None

    def _ended(self, item: _Active) -> None:
        """Free what an ended process held; a lost run waits for a second attempt, or has failed for good."""
        item.process.join()
        item.connection.close()
        self.active.remove(item)
        if item.device is not None:
            self.free.append(item.device)
        self._release()
        if item.ended:
            return
        if item.attempt < ATTEMPTS:
            self.waiting.appendleft((item.spec, item.attempt + 1))
            return
        code = item.process.exitcode or 0
        hint = " (out of memory is a common cause: try fewer --jobs)" if code == -signal.SIGKILL else ""
        error = f"the process of this run ended unexpectedly, {ATTEMPTS} times: {cause(code)}{hint}"
        folder, options = runs.run_folder(self.work.out, item.spec), self.work.resources.options()
        with contextlib.suppress(OSError):  # as in attempt: the line still reaches the listener
            runs.write_failure(folder, item.spec, error, "", self.work.out, options)
        self._tell(item, Event(item.spec.run_id, "failed", error))

    def _stop(self) -> None:
        """Ask running processes to write a checkpoint and end; kill those that do not within ten seconds."""
        deadline = time.monotonic() + STOP_SECONDS
        while (alive := [item for item in self.active if item.process.is_alive()]) and time.monotonic() < deadline:
            for item in alive:
                item.process.terminate()  # repeatedly: a process that has only just begun does not listen yet
            wait([item.process.sentinel for item in alive], timeout=1.0)
        for item in alive:
            item.process.kill()
            item.process.join()
        for item in self.active:
            self._receive(item)


def _command() -> Any:
    """Return an object that becomes readable when the command closes its end of the input."""
    if hasattr(os, "fork"):
        return sys.stdin.fileno()
    reader, writer = multiprocessing.Pipe(duplex=False)

    def watch() -> None:  # Windows cannot wait for a pipe of the C library
        sys.stdin.buffer.read()
        writer.close()

    threading.Thread(target=watch, daemon=True).start()
    return reader


def _child(
    inherited: Sequence[Any], connection: Connection, spec_json: str, out: Path, resources_json: str, fresh: bool
) -> None:
    """Do one run in its own process, and send its progress. The run stops if nobody listens any more."""
    for end in inherited:
        end.close()
    spec, resources = RunSpec.model_validate_json(spec_json), Resources.model_validate_json(resources_json)
    last = ("", 0.0)
    alone = False

    def send(*fields: Any) -> None:
        nonlocal alone
        try:
            connection.send((spec.run_id, *fields))
        except OSError:
            alone = True

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase != last[0] or done == total or now - last[1] > REPORT_SECONDS:
            last = (phase, now)
            send("progress", phase, done, total)

    with stopping() as told:
        release = lambda: send(RELEASED)  # noqa: E731
        kind, text = attempt(spec, out, resources, report, lambda: told() or alone, fresh=fresh, release=release)
        send(kind, text)
