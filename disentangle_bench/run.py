"""Grids of runs: expand names and seeds to specs, skip what is finished, hand the rest to an executor."""

from __future__ import annotations

import itertools
import json
import re
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from disentangle_bench import executors, grid, store, tracking
from disentangle_bench.data.bars import bars
from disentangle_bench.data.files import data_folder
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.executors import ENDS, Event, Options, Work
from disentangle_bench.metrics.threads import available
from disentangle_bench.plan import Plan, measure
from disentangle_bench.progress import Display
from disentangle_bench.registry import DATASETS, MODELS, dataset_class
from disentangle_bench.resolve import resolve
from disentangle_bench.spec import RunSpec, Scalar
from disentangle_bench.train import CHECKPOINT_SECONDS
from disentangle_bench.worker import Place, attempt, stopping


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


def parse_seeds(text: str) -> list[int]:
    """``5`` is seeds 0 to 4, ``3-7`` a range with both ends, ``0,2,9`` a list, ``0-4,9`` both."""
    if re.fullmatch(r"\d+", text) and int(text) > 0:
        return list(range(int(text)))
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not match or (match[2] and int(match[2]) < int(match[1])) or ("," not in text and not match[2]):
            raise BenchError(
                f"--seeds {text!r} is not understood: give how many (5 means 0 to 4), a range (0-4) or a list (0,3,7)"
            )
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(seeds))


def alternatives(changes: Sequence[str], grid_file: Path | None = None) -> list[list[str]]:
    """``--set`` words whose values are comma-separated lists, and a file's ``[grid]``, as all combinations of single
    values.
    """
    choices: dict[str, list[str]] = {}
    for word in changes:
        key, equals, values = word.partition("=")
        choices[key.strip()] = [f"{key}{equals}{value}" for value in values.split(",")]
    for key, alternative in (read_grid(grid_file) if grid_file else {}).items():
        if key in choices:
            raise BenchError(f"{key} is changed twice, by {grid_file} and by another option: keep one of them")
        # JSON's spelling of numbers, truth values and texts is TOML's, which resolve reads.
        choices[key] = [f"{key}={json.dumps(value)}" for value in alternative]
    return [list(combination) for combination in itertools.product(*choices.values())]


def read_grid(path: Path) -> dict[str, list[Scalar]]:
    """A TOML file's ``[grid]``: dotted keys as ``dbench show`` prints them, each with the list of its values.

    Raises ``BenchError`` for anything else in the file.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"--grid {str(path)!r} cannot be read ({error.strerror}): give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"--grid {str(path)!r} is not valid TOML: {error}") from error
    if set(content) != {"grid"} or not isinstance(content["grid"], dict):
        raise BenchError(f"--grid {str(path)!r} holds {', '.join(content) or 'nothing'}: give one table, [grid]")
    found: dict[str, list[Scalar]] = {}

    def collect(table: dict[str, Any], prefix: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}{name}.")
            elif isinstance(value, list) and value and all(isinstance(one, Scalar) for one in value):
                found[f"{prefix}{name}"] = value
            else:
                raise BenchError(f"--grid {str(path)!r}: {prefix}{name} = {value!r} is no list of numbers or texts")

    collect(content["grid"], "")
    return found


def expand(
    models: str,
    datasets: str,
    seeds: str,
    protocol: str,
    changes: Sequence[str] = (),
    grid_file: Path | None = None,
    precision: str | None = None,
) -> list[RunSpec]:
    """All specs of a grid: every model on every dataset with every seed and combination of changed values.

    Seeds are outermost, so that a grid that is stopped early has whole comparisons. ``precision`` is a change too.
    """
    model_names, dataset_names, numbers = MODELS.names(models), DATASETS.names(datasets), parse_seeds(seeds)
    changes = [*changes, *([] if precision is None else [f"training.precision={precision}"])]
    resolved = [
        resolve(model, name, protocol, 0, combination).spec
        for name in dataset_names
        for model in model_names
        for combination in alternatives(changes, grid_file)
    ]
    return [spec.model_copy(update={"seed": seed}) for seed in numbers for spec in resolved]


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
    folders = {spec.run_id: store.run_folder(out, spec) for spec in specs}
    if rerun == "all":
        return list(specs)
    if rerun == "failed":
        return [spec for spec in specs if store.has_failed(folders[spec.run_id])]
    return [spec for spec in specs if not store.is_finished(folders[spec.run_id])]


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
    grid.remember(out, specs)
    work = Work(todo, out, places[0], threads, folder, rerun == "all", track, checkpoint_seconds, compile)
    if todo:
        with Display(len(todo)) as display:

            def listen(event: Event) -> None:
                display.listen(event)
                outcome.note(event)

            shares = {"slots": places[: len(todo)], "jobs": jobs, "runs_per_device": runs_per_device}
            execute(work, listen, {**shares, **(options or {})})
    store.write_results(out)
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
    known = grid.planned(out)
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
