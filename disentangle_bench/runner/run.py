"""Grids of runs: expand names and seeds to specs, skip what is finished, hand the rest to an executor."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from disentangle_bench.cores import available
from disentangle_bench.data.files import data_folder
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.registry import dataset_class
from disentangle_bench.runner.attempt import Place, attempt, stopping
from disentangle_bench.runner.bars import bars
from disentangle_bench.runner.executors import base as executors
from disentangle_bench.runner.executors.base import ENDS, Event, Options, Work
from disentangle_bench.runner.plan import Plan, measure
from disentangle_bench.runner.progress import Display
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import runs, status
from disentangle_bench.training import trackers as tracking
from disentangle_bench.training.trainer import CHECKPOINT_SECONDS


@dataclass
class Outcome:
    """What became of a grid: run ids by fate, and one line for each failure."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        """Take down how a run ended; ``left`` are those that stopped or that another process is running."""
        if event.kind == "done":
            self.finished.append(event.run_id)
        elif event.kind == "failed":
            self.failed[event.run_id] = event.text
        elif event.kind in ENDS:
            self.left[event.run_id] = event.text


def choose_device(name: str) -> str:
    """``auto`` is the first CUDA device, else the CPU; other names are checked."""
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"--device {name!r} cannot be used here ({reason}): give auto, cpu, cuda or cuda:1") from error
    if device.type == "meta":
        raise BenchError("--device 'meta' holds no numbers: give auto, cpu, cuda or cuda:1")
    return str(device)


RERUN = ("missing", "failed", "all")


def select(specs: Sequence[RunSpec], out: Path, rerun: str) -> list[RunSpec]:
    """Which runs of a grid are to be done: those without a record (failed ones are tried again), those that failed
    only, or all of them anew.
    """
    if rerun not in RERUN:
        raise unknown("value of --rerun", rerun, RERUN)
    folders = {spec.run_id: runs.run_folder(out, spec) for spec in specs}
    if rerun == "all":
        return list(specs)
    if rerun == "failed":
        return [spec for spec in specs if runs.has_failed(folders[spec.run_id])]
    return [spec for spec in specs if not runs.is_finished(folders[spec.run_id])]


def slots(devices: str, jobs: int | None, runs_per_device: int, threads: int) -> list[str]:
    """The devices that runs go on, one entry for each run that may go at a time.

    ``devices`` are names, comma-separated. On the CPU as many runs go as there are cores for, elsewhere
    ``runs_per_device`` on each device; ``jobs`` says otherwise.
    """
    names = [choose_device(name.strip()) for name in devices.split(",")]
    if names == ["cpu"]:
        return ["cpu"] * (jobs or max(1, available() // threads))
    places = names * runs_per_device
    return places if jobs is None else [places[i % len(places)] for i in range(jobs)]


def run_grid(
    specs: Sequence[RunSpec],
    out: Path,
    *,
    devices: str = "auto",
    jobs: int | None = None,
    runs_per_device: int = 1,
    threads: int = 1,
    data: str | None = None,
    rerun: str = "missing",
    executor: str = "local",
    options: Options | None = None,
    track: tuple[str, ...] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    compile: bool = False,
) -> Outcome:
    """Do what is to be done of a grid, by the executor of that name, and write ``results.csv``."""
    # Only here is it known what there is here; other executors choose and check the device where a run goes.
    places = slots(devices, jobs, runs_per_device, threads) if executor == "local" else [devices]
    execute = executors.load(executor).execute
    tracking.check(track)
    folder = data_folder(data)
    todo = select(specs, out, rerun)
    outcome = Outcome(skipped=sorted({spec.run_id for spec in specs} - {spec.run_id for spec in todo}))
    with bars() as report:  # a file that is missing and cannot be had ends the command before anything is trained
        for name in dict.fromkeys(spec.dataset for spec in todo):
            dataset_class(name).prepare(folder, report=report)
    check_writable(out)
    status.remember(out, specs)
    work = Work(todo, out, places[0], threads, folder, rerun == "all", track, checkpoint_seconds, compile)
    if todo:
        with Display(len(todo)) as display:

            def listen(event: Event) -> None:
                display.listen(event)
                outcome.note(event)

            shares = {"slots": places[: len(todo)], "jobs": jobs, "runs_per_device": runs_per_device}
            execute(work, listen, {**shares, **(options or {})})
    runs.write_results(out)
    return outcome


def estimate(
    specs: Sequence[RunSpec],
    *,
    devices: str = "auto",
    jobs: int | None = None,
    runs_per_device: int = 1,
    threads: int = 1,
    data: str | None = None,
) -> Plan:
    """What ``run_grid`` would cost with the same words; prepares the datasets, since it needs them."""
    places, folder = slots(devices, jobs, runs_per_device, threads), data_folder(data)
    with bars() as report:
        for name in dict.fromkeys(spec.dataset for spec in specs):
            dataset_class(name).prepare(folder, report=report)
    return measure(specs, places[: max(1, len(specs))], threads, folder, lambda line: print(line, file=sys.stderr))


def run_single(
    run_id: str, out: Path, *, device: str = "auto", threads: int = 1, data: str | None = None, compile: bool = False
) -> tuple[str, str]:
    """Do one run that is known in the results folder, in this process. Gives how it ended and a line on it."""
    known = status.planned(out)
    if run_id not in known:
        raise unknown("run", run_id, known)
    place = Place(choose_device(device), threads, data_folder(data), compile=compile)
    with bars() as report:
        dataset_class(known[run_id].dataset).prepare(place.data, report=report)
    with Display(1) as display, stopping() as should_stop:

        def progress(phase: str, done: int, total: int) -> None:
            display.listen(Event(run_id, "progress", phase, done, total))

        return attempt(known[run_id], out, place, progress, should_stop)


def check_writable(out: Path) -> None:
    """Make the results folder; raise ``BenchError`` if nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise BenchError(f"--out {str(out)!r} cannot be written ({error.strerror}): give another folder") from error
