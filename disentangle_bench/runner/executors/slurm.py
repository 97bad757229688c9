"""Runs as jobs of a Slurm cluster, submitted as arrays with submitit. The results folder must be on a shared disk.

A job does one run. When told to end (before its time limit, or to make room for others), it writes a checkpoint and
requeues itself, so it continues until it is done even if the command that submitted it has ended. The command knows its
jobs by name and array index and asks ``squeue`` for them, which works without accounting. A JSON file beside submitit's
files says how a job ended. submitit pickles a job's work into the results folder: whoever can write there can run code
as the user, as can anybody who may write to the user's folders.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import submitit
from submitit.core.utils import FailedSubmissionError, UncompletedJobError

from disentangle_bench.errors import BenchError
from disentangle_bench.runner.executors import remote
from disentangle_bench.runner.executors.base import ATTEMPTS, STOP_SECONDS, Event, Listen, Work
from disentangle_bench.runner.executors.slurm_job import command, states, task
from disentangle_bench.runner.executors.slurm_settings import Settings, parse
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import files

__all__ = ["execute", "parse"]

FOLDER, RUNS, ENDS = "slurm", "runs.json", "ends"
RETRY_SECONDS = 60.0
ARRAY = 1000
DEAD = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
HINTS = {
    "TIMEOUT": "its time limit was reached before it could write a checkpoint: give --slurm time=... more minutes",
    "OUT_OF_MEMORY": "out of memory: give --slurm mem=...",
    "NODE_FAIL": "its node failed",
}


def execute(work: Work, settings: Settings, listen: Listen) -> None:
    """Do all runs as Slurm jobs and report to ``listen`` what happens.

    ``jobs`` limits how many run at a time. Jobs of an earlier command that still wait or run are taken over. A job that
    is lost is submitted once more; one that somebody cancels is reported as stopped. On KeyboardInterrupt, all jobs are
    cancelled, which leaves them Slurm's KillWait time to write a checkpoint; if this process is killed, they continue.
    """
    if not shutil.which("sbatch") or not shutil.which("squeue"):
        raise BenchError("--executor slurm needs Slurm's commands sbatch and squeue: run it where jobs are submitted")
    jobs = _Jobs(work, listen, settings)
    try:
        jobs.take_over()
        while jobs.waiting or jobs.active:
            jobs.submit()
            time.sleep(settings.poll)
            jobs.look()
    except KeyboardInterrupt:
        jobs.cancel()
        raise


@dataclass
class _Job:
    """A run's job: the submission it is in, its index there, and how often the run was lost before."""

    spec: RunSpec
    name: str
    index: int
    lost: int
    started: bool = False
    missed: int = 0


@dataclass
class _Jobs:
    """All jobs of one command."""

    work: Work
    listen: Listen
    settings: Settings
    active: dict[tuple[str, int], _Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.out = self.work.out.resolve()
        self.folder = self.out / FOLDER
        self.waiting = deque((spec, 0) for spec in self.work.specs)
        self.beats = remote.Heartbeats(self.out, self.listen)
        self.begun: set[str] = set()
        self.size, self.next_try = ARRAY, 0.0

    def take_over(self) -> None:
        """Find the jobs that an earlier command left waiting or running, instead of submitting their runs again."""
        if self.work.fresh:
            return
        lists = {path.parent.name: files.read_json(path)["runs"] for path in self.folder.glob(f"*/{RUNS}")}
        specs = {spec.run_id: spec for spec in self.work.specs}
        for (name, index), state in (states(lists) or {}).items():
            spec = specs.get(lists[name][index])
            if spec and state not in DEAD and not (self.folder / name / ENDS / f"{index}.json").exists():
                self.active[name, index] = _Job(specs.pop(spec.run_id), name, index, 0)
        self.waiting = deque((spec, 0) for spec in specs.values())

    def submit(self) -> None:
        """Submit waiting runs as arrays. Those that Slurm does not accept now are submitted again while others run."""
        while self.waiting and time.monotonic() >= self.next_try:
            batch = [self.waiting.popleft() for _ in range(min(self.size, len(self.waiting)))]
            try:
                self._submit(batch)
            except (FailedSubmissionError, UncompletedJobError, OSError, subprocess.SubprocessError) as error:
                self.waiting.extendleft(reversed(batch))
                if re.search("SubmitJob|array", str(error)) and self.size > 1:  # try as many as are allowed
                    self.size //= 2
                    continue
                if not self.active:
                    line = " ".join(str(error).split("error:")[-1].split())
                    raise BenchError(f"Slurm did not take the jobs: {line}: look at --slurm, then try again") from error
                self.next_try = time.monotonic() + RETRY_SECONDS

    def _submit(self, batch: list[tuple[RunSpec, int]]) -> None:
        name = f"dbench-{uuid.uuid4().hex[:12]}"
        folder, work = self.folder / name, self.work
        (folder / ENDS).mkdir(parents=True)
        try:
            # exec: the run replaces the batch shell, so that Slurm's signals reach it. Under srun, scancel
            # would kill it at once.
            executor = submitit.SlurmExecutor(folder, python=f"exec {shlex.quote(sys.executable)}")
            known = self.settings.known() | {"use_srun": False, "job_name": name}
            executor.update_parameters(**known, additional_parameters=self.settings.others())
            resources = remote.resources(work, work.resources.devices)
            calls: list[tuple[Any, ...]] = []
            for index, (spec, _) in enumerate(batch):
                end = folder / ENDS / f"{index}.json"
                again = spec.run_id in self.begun
                fresh = work.fresh and not again
                calls.append(
                    (spec.model_dump_json(), self.out, resources, fresh, again, end, self.settings.signal_delay_s)
                )
            files.write_json(folder / RUNS, {"schema": files.SCHEMA, "runs": [spec.run_id for spec, _ in batch]})
            for spec, _ in batch:
                self.beats.expect(spec)
            executor.map_array(task, *zip(*calls, strict=True))
        except BaseException:  # also if Slurm accepted the jobs and its answer was lost
            command("scancel", f"--name={name}")
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.begun |= {spec.run_id for spec, _ in batch}
        self.active |= {(name, index): _Job(spec, name, index, lost) for index, (spec, lost) in enumerate(batch)}

    def look(self) -> None:
        """Check on all jobs; conclude nothing while slurmctld does not answer."""
        names = {job.name for job in self.active.values()}
        known = states(names)
        if known is None:
            return
        ends = {(name, index) for name in names for index in self._ends(name)}
        for key, job in list(self.active.items()):
            state = known.get(key, "")
            kind, text = self._end(job) if key in ends else ("", "")
            if kind and not (kind == "stopped" and state and state not in DEAD):
                self._ended(job, kind, text, state)
            elif state in ("RUNNING", "COMPLETING"):
                if not job.started:
                    job.started = True
                    self.listen(Event(job.spec.run_id, "started"))
                self.beats.look(job.spec)
            elif not state or state in DEAD:
                job.missed += 1
                if job.missed > 1:  # its last file may take a moment to get here
                    self._gone(job, state)

    def _ends(self, name: str) -> list[int]:
        folder = self.folder / name / ENDS
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder):
            pass  # makes a network file system look at the folder again
        return [int(path.stem) for path in folder.glob("[0-9]*.json")]

    def _end(self, job: _Job) -> tuple[str, str]:
        content = files.read_json(self.folder / job.name / ENDS / f"{job.index}.json")
        return content["kind"], content["text"]

    def _ended(self, job: _Job, kind: str, text: str, state: str) -> None:
        """Handle a job that reported how it ended; resume a run that stopped without being cancelled in a new job."""
        if kind == "stopped" and state not in ("CANCELLED", ""):
            self._again(job, job.lost)
            return
        cancelled = " (its Slurm job was cancelled)" if kind == "stopped" else ""
        self._remove(job, keep=False)
        self.listen(Event(job.spec.run_id, kind, text + cancelled))

    def _gone(self, job: _Job, state: str) -> None:
        """Handle a job that ended without a report."""
        if state in ("CANCELLED", ""):
            how = "was cancelled" if state else "is not known any more"
            self._remove(job, keep=not state)
            self.listen(Event(job.spec.run_id, "stopped", f"its Slurm job {how}; the same command goes on"))
        elif state == "PREEMPTED" or job.lost + 1 < ATTEMPTS:
            self._again(job, job.lost + (state != "PREEMPTED"))
        else:
            cause = f"Slurm says {state}" + (f" ({HINTS[state]})" if state in HINTS else "")
            remote.fail(job.spec, self.out, cause, self._log(job), self.listen)
            self._remove(job, keep=True)

    def _again(self, job: _Job, lost: int) -> None:
        self._remove(job, keep=lost > job.lost)
        self.waiting.append((job.spec, lost))
        self.listen(Event(job.spec.run_id, "retried"))

    def _remove(self, job: _Job, keep: bool) -> None:
        """Forget a job; delete a submission's files with its last job, unless their logs may explain a loss."""
        del self.active[job.name, job.index]
        marker = self.folder / job.name / "keep"
        if keep:
            marker.touch()
        if not any(name == job.name for name, _ in self.active) and not marker.exists():
            shutil.rmtree(self.folder / job.name, ignore_errors=True)

    def _log(self, job: _Job) -> str:
        """Return the end of what a lost job printed."""
        names = re.compile(rf"\d+(_{job.index})?_0_log\.err")
        paths = [path for path in (self.folder / job.name).iterdir() if names.fullmatch(path.name)]
        return paths[0].read_text(errors="replace")[-5000:] if paths else ""

    def cancel(self) -> None:
        """Cancel all jobs, and report those that end within ten seconds."""
        names = {job.name for job in self.active.values()}
        if not names:
            return
        for name in names:
            command("scancel", f"--name={name}")
        deadline = time.monotonic() + STOP_SECONDS
        while self.active and time.monotonic() < deadline:
            time.sleep(0.5)
            self.look()
