"""Runs as tasks of a Ray cluster. The results folder must be on a disk that all its nodes share.

Every run has a separate process, which ends with it (``max_calls=1``). Ray's own retries are off: whether a lost run
is tried again, and from where, is decided here, as for the other executors.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, RayError, TaskCancelledError

from disentangle_bench.cores import available
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.runner.attempt import stopping
from disentangle_bench.runner.executors import remote
from disentangle_bench.runner.executors.base import ATTEMPTS, STOP_SECONDS, Event, Listen, Work, pairs
from disentangle_bench.runner.resources import Resources
from disentangle_bench.spec import RunSpec

POLL_SECONDS = 2.0
CONNECT_SECONDS = 10.0
DEVICES = ("auto", "cpu", "cuda")
MOVES = 10
"""How often a run is moved because its node died: beyond that, the run itself probably kills its nodes."""

STORE_BYTES = 100_000_000
"""Size of Ray's shared memory on this machine: tasks receive and return only a few kilobytes."""


@dataclass(frozen=True)
class Settings:
    """Address of a running cluster; without one, Ray is started on this machine's cores."""

    address: str | None = None


def parse(resources: Resources) -> Settings:
    """Return the settings ``address=host:port``; raise ``BenchError`` for other settings and impossible resources."""
    given = pairs("ray", resources.executor_settings)
    for key in given:
        if key != "address":
            raise unknown("setting of --ray", key, ["address"])
    settings = Settings(**given)
    if resources.devices not in DEVICES:
        raise BenchError(
            f"--devices {resources.devices!r}: Ray hands out the cluster's devices: give {' or '.join(DEVICES)}"
        )
    if settings.address is None and resources.threads > available():
        raise BenchError(f"--threads {resources.threads} is more than this machine's {available()} cores: give fewer")
    if resources.runs_per_device == "auto":
        raise BenchError("--runs-per-device auto is measured on this machine's devices: give a number for Ray")
    if resources.jobs == 0:
        raise BenchError("--jobs 0 does runs in this process: give --executor local with it")
    return settings


def execute(work: Work, settings: Settings, listen: Listen) -> None:
    """Do all runs as Ray tasks and report to ``listen`` what happens.

    A run takes ``threads`` CPUs and, if it uses a GPU, 1 / ``runs_per_device`` of that; ``jobs`` limits how many run at
    a time. A run whose node dies is resumed elsewhere from its checkpoint; if only its process is lost, it is tried
    once more. On KeyboardInterrupt the runs write checkpoints and end.
    """
    _connect(settings.address)
    try:
        tasks = _Tasks(work, listen)
        try:
            tasks.run()
        finally:
            tasks.stop()
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise Ray sends usage reports to its developers
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        quiet |= {"num_cpus": available(), "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        if match := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address or ""):
            # Ray itself tries for many minutes to reach an address where nothing answers.
            socket.create_connection((match[1], int(match[2])), timeout=CONNECT_SECONDS).close()
        ray.init(address=address or "local", **quiet)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise BenchError(
            f"--ray address={address} cannot be reached ({line}): give host:port as ray start printed it"
        ) from error


def shares(resources: Resources, cluster: Mapping[str, float]) -> tuple[str, dict[str, Any]]:
    """Return the device of every run, and its share of the cluster; ``auto`` is a GPU if the cluster has any."""
    device = resources.devices
    if device == "auto":
        device = "cuda" if cluster.get("GPU") else "cpu"
    gpus = 1 / int(resources.runs_per_device) if device == "cuda" else 0
    # If a task takes no GPU, Ray may leave all of them visible, so the device must be named.
    return device, {"num_cpus": resources.threads, "num_gpus": gpus}


@dataclass
class _Run:
    """A run, how often its process was lost, and how often it moved because its node was lost."""

    spec: RunSpec
    lost: int = 0
    moved: int = 0
    started: bool = False


class _Tasks:
    """All tasks of one command."""

    def __init__(self, work: Work, listen: Listen) -> None:
        self.work, self.listen, self.out = work, listen, work.out.resolve()
        self.limit = work.resources.jobs or len(work.specs)
        device, parts = shares(work.resources, ray.cluster_resources())
        self.resources = remote.resources(work, device)
        self.task: Any = ray.remote(max_calls=1, max_retries=0, **parts)(task)
        self.beats = remote.Heartbeats(self.out, listen)
        self.waiting = [_Run(spec) for spec in reversed(work.specs)]
        self.active: dict[Any, _Run] = {}

    def run(self) -> None:
        """Work until no run is left."""
        while self.waiting or self.active:
            while self.waiting and len(self.active) < self.limit:
                self._start(self.waiting.pop())
            self._look(POLL_SECONDS)

    def stop(self) -> None:
        """Ask the remaining runs to write a checkpoint and end, and wait ten seconds for them."""
        for reference in self.active:
            ray.cancel(reference)  # SIGINT in the task's process; a task that has not begun never begins
        deadline = time.monotonic() + STOP_SECONDS
        while self.active and time.monotonic() < deadline:
            self._look(0.5, stopping=True)

    def _start(self, run: _Run) -> None:
        again = run.lost + run.moved > 0
        self.beats.expect(run.spec)
        arguments = (run.spec.model_dump_json(), self.out, self.resources, self.work.fresh and not again, again)
        self.active[self.task.remote(*arguments)] = run

    def _look(self, seconds: float, stopping: bool = False) -> None:
        ready, _ = ray.wait(list(self.active), timeout=seconds, fetch_local=True)
        for reference in ready:
            run = self.active.pop(reference)
            try:
                kind, text = ray.get(reference)
            except TaskCancelledError:
                kind, text = "stopped", "before it began"
            except RayError as error:
                self._lost(run, error, stopping)
                continue
            if kind == "stopped" and not stopping:  # asked by Ray, which is about to remove the node
                self._again(run, moved=True)
            else:
                self.listen(Event(run.spec.run_id, kind, text))
        for run in self.active.values():
            if self.beats.look(run.spec) and not run.started:
                run.started = True
                self.listen(Event(run.spec.run_id, "started"))

    def _lost(self, run: _Run, error: RayError, stopping: bool) -> None:
        """Try a task that ended without a result again, or record that it has failed for good."""
        moved = isinstance(error, NodeDiedError)
        if stopping:
            self.listen(Event(run.spec.run_id, "stopped", "its process was lost"))
        elif run.moved + 1 < MOVES if moved else run.lost + 1 < ATTEMPTS:
            self._again(run, moved)
        else:
            cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            remote.fail(run.spec, self.out, cause, str(error), self.listen, MOVES if moved else ATTEMPTS)

    def _again(self, run: _Run, moved: bool) -> None:
        self.waiting.append(_Run(run.spec, run.lost + (not moved), run.moved + moved))
        self.listen(Event(run.spec.run_id, "retried"))


def task(spec_json: str, out: Path, resources: Resources, fresh: bool, again: bool) -> tuple[str, str]:
    """Do one run in a process on a node; return how it ended and a line about it."""
    spec = RunSpec.model_validate_json(spec_json)
    with stopping() as should_stop:
        return remote.do(spec, out, resources, lambda phase, done, total: None, should_stop, fresh=fresh, again=again)
