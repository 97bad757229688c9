"""Grids of runs: expand names and seeds to specs, skip what is finished, hand the rest to an executor."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from disentangle_bench import store
from disentangle_bench.data.bars import bars
from disentangle_bench.data.files import data_folder
from disentangle_bench.errors import BenchError
from disentangle_bench.executors import local
from disentangle_bench.metrics.threads import available
from disentangle_bench.progress import Display
from disentangle_bench.registry import DATASETS, MODELS, dataset_class
from disentangle_bench.resolve import resolve
from disentangle_bench.spec import RunSpec
from disentangle_bench.worker import Place


@dataclass
class Outcome:
    """What became of a grid: run ids by fate, and one line for each failure."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


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


def expand(models: str, datasets: str, seeds: str, protocol: str, changes: Sequence[str] = ()) -> list[RunSpec]:
    """All specs of a grid: every model on every dataset with every seed; seeds outermost, so that a grid that is
    stopped early has whole comparisons.
    """
    model_names, dataset_names, numbers = MODELS.names(models), DATASETS.names(datasets), parse_seeds(seeds)
    resolved = [resolve(model, name, protocol, 0, changes).spec for name in dataset_names for model in model_names]
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


def run_grid(
    specs: Sequence[RunSpec], out: Path, *, device: str, jobs: int | None, threads: int, data: str | None
) -> Outcome:
    """Do what is missing of a grid and write ``results.csv``. ``jobs`` runs go at a time, each with ``threads``
    threads; None means as many as there are cores for on a CPU, and one on an accelerator.
    """
    place = Place(choose_device(device), threads, data_folder(data))
    outcome = Outcome(skipped=[spec.run_id for spec in specs if store.is_finished(store.run_folder(out, spec))])
    todo = [spec for spec in specs if spec.run_id not in set(outcome.skipped)]
    with bars() as report:  # a file that is missing and cannot be had ends the command before anything is trained
        for name in dict.fromkeys(spec.dataset for spec in todo):
            dataset_class(name).prepare(place.data, report=report)
    if jobs is None:
        jobs = max(1, available() // threads) if place.device == "cpu" else 1
    check_writable(out)

    def listen(event: local.Event) -> None:
        display.listen(event)
        if event.kind == "done":
            outcome.finished.append(event.run_id)
        elif event.kind == "failed":
            outcome.failed[event.run_id] = event.text

    if todo:
        with Display(len(todo)) as display:
            local.execute(todo, out, place, jobs=min(jobs, len(todo)), listen=listen)
    (out / "runs").mkdir(exist_ok=True)
    store.write_results(out)
    return outcome


def check_writable(out: Path) -> None:
    """Make the results folder; raise ``BenchError`` if nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise BenchError(f"--out {str(out)!r} cannot be written ({error.strerror}): give another folder") from error
