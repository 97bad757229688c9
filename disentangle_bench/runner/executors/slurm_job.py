"""Work of a Slurm job on the machine where it runs, and queries to Slurm. ``executors/slurm.py`` submits it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from disentangle_bench.runner.attempt import stopping
from disentangle_bench.runner.executors import remote
from disentangle_bench.runner.resources import Resources
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import files, runs

WAIT_SECONDS = 5.0
WAITS = 60
EARLY_SECONDS = 60
"""Seconds by which Slurm may signal a job earlier than asked."""


def task(spec_json: str, out: Path, resources: Resources, fresh: bool, again: bool, end: Path, delay: int) -> None:
    """Do one run, then write to ``end`` how it ended. If told to end, write a checkpoint and requeue this job instead.

    Slurm signals the job ``delay`` seconds before its time limit. A run that Slurm restarts is resumed.
    """
    spec = RunSpec.model_validate_json(spec_json)
    restarted = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    fresh, again = fresh and not restarted, again or restarted
    end.unlink(missing_ok=True)
    phases: set[str] = set()

    def report(phase: str, done: int, total: int) -> None:
        phases.add(phase)

    with stopping() as should_stop:
        # The signal must only be noted: submitit's handler would end the process in the middle of an update.
        signal.signal(signal.SIGUSR2, signal.getsignal(signal.SIGTERM))
        kind, text = remote.do(spec, out, resources, report, should_stop, fresh=fresh, again=again)
        if kind == "stopped":
            # For Slurm a cancelled job is no longer running, and it must not be requeued.
            state, left = _own_state()
            if state == "RUNNING" and phases and "training" not in phases and left < delay + EARLY_SECONDS:
                kind, text = "failed", "scoring takes longer than a job may: give --slurm time=... more minutes"
                runs.write_failure(runs.run_folder(out, spec), spec, text, "", out)
            elif state == "RUNNING" and command("scontrol", "requeue", _own_id()) is not None:
                return
        files.write_json(end, {"schema": files.SCHEMA, "kind": kind, "text": text})


def _own_id() -> str:
    """Return the id of this job alone: for one job of an array, the number in SLURM_JOB_ID is also the array's."""
    array, index = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{index}" if array and index else os.environ["SLURM_JOB_ID"]


def _own_state() -> tuple[str, float]:
    """Return the state of this job, and the seconds it has left.

    Waits while slurmctld does not answer, since it cannot end the job then either.
    """
    query = ("squeue", "--noheader", "--states=all", f"--jobs={_own_id()}", "--format=%T|%L")
    for _ in range(WAITS):
        printed = command(*query)
        if printed is not None:
            state, _, left = printed.strip().partition("|")
            return state, seconds(left)
        time.sleep(WAIT_SECONDS)
    return "", float("inf")


def seconds(left: str) -> float:
    """Return the seconds in Slurm's days-hours:minutes:seconds (left parts may be missing); infinity if no limit."""
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", left)
    if not match:
        return float("inf")
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def states(names: Iterable[str]) -> dict[tuple[str, int], str] | None:
    """Return the states of all jobs with these names that Slurm still knows, by name and index; None if no answer."""
    if not (listed := ",".join(names)):
        return {}
    form = "--format=%j|%K|%T"
    printed = command("squeue", "--noheader", "--array", "--states=all", f"--name={listed}", form)
    if printed is None:
        return None
    rows = [line.split("|") for line in printed.splitlines()]
    return {(name, int(index) if index.isdigit() else 0): state for name, index, state in rows}


def command(*words: str) -> str | None:
    """Return the output of one of Slurm's commands; None if it fails."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
