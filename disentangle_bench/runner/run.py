"""Grids of runs: expand names and seeds to specs, skip what is finished, hand the rest to an executor."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from disentangle_bench import plugins
from disentangle_bench.config import protocols
from disentangle_bench.errors import BenchError, one_line, unknown
from disentangle_bench.registry import MODELS, activate, dataset_class, model_class, model_config
from disentangle_bench.runner.attempt import attempt, stopping
from disentangle_bench.runner.executors import base as executors
from disentangle_bench.runner.executors.base import ENDS, Event, Work
from disentangle_bench.runner.fit import check_memory, runs_per_device
from disentangle_bench.runner.plan import Plan, measure
from disentangle_bench.runner.progress import Display, downloads
from disentangle_bench.runner.resources import Resources, choose_device
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import runs, status
from disentangle_bench.testing import Violation, check_model
from disentangle_bench.training import trackers as tracking


@dataclass
class Outcome:
    """Outcome of a grid: run ids by ending, one line for each failure, and all records of the results folder."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    records: runs.Records = field(default_factory=lambda: runs.Records([], {}))

    def note(self, event: Event) -> None:
        """Note how a run ended; ``left`` holds those that stopped or that another process is running."""
        if event.kind == "done":
            self.finished.append(event.run_id)
        elif event.kind == "failed":
            self.failed[event.run_id] = event.text
        elif event.kind in ENDS:
            self.left[event.run_id] = event.text


RERUN = ("missing", "failed", "all")


def select(specs: Sequence[RunSpec], out: Path, rerun: str, records: runs.Records | None = None) -> list[RunSpec]:
    """Return the runs of a grid that remain to be done.

    ``rerun`` is ``missing`` for those without a record (failed ones are tried again), ``failed`` for only those that
    failed, or ``all`` to do all of them anew. ``records`` are the folder's, if they have already been read.
    """
    if rerun not in RERUN:
        raise unknown("value of --rerun", rerun, RERUN)
    if rerun == "all":
        return list(specs)
    finished = (read(out) if records is None else records).names
    unfinished = [spec for spec in specs if spec.run_id not in finished]
    if rerun == "failed":
        return [spec for spec in unfinished if os.path.lexists(runs.run_folder(out, spec) / runs.FAILED)]
    return unfinished


def read(out: Path) -> runs.Records:
    """Return the records of a results folder; none if there is no such folder yet."""
    return runs.read_records(out) if (out / "runs").is_dir() else runs.Records([], {})


def run_grid(
    specs: Sequence[RunSpec],
    out: Path,
    resources: Resources,
    *,
    rerun: str = "missing",
    records: runs.Records | None = None,
) -> Outcome:
    """Do the runs of a grid that ``select`` returns for the results folder ``out``, and write its ``results.csv``.

    ``records`` are the folder's, if they have already been read.

    Raises ``BenchError``, before anything is trained, for resources that are missing, settings that the executor does
    not understand, datasets that cannot be obtained and a folder that cannot be written.
    """
    executor = executors.load(resources.executor)
    settings = executor.parse(resources)
    tracking.check(resources.trackers)
    records = read(out) if records is None else records
    todo = select(specs, out, rerun, records)
    outcome = Outcome(skipped=sorted({spec.run_id for spec in specs} - {spec.run_id for spec in todo}))
    for spec in todo:
        activate(spec, out)
    if resources.executor == "local":
        check_memory(todo)
    prepare(todo, resources)
    check_plugins(todo)
    _note_changes(todo, records)
    keep(specs, out)
    if resources.runs_per_device == "auto":
        resources = resources.model_copy(update={"runs_per_device": runs_per_device(todo, resources)})
        settings = executor.parse(resources)
    if todo:
        with Display(len(todo)) as display:

            def listen(event: Event) -> None:
                display.listen(event)
                outcome.note(event)

            executor.execute(Work(todo, out, resources, rerun == "all"), settings, listen)
    ended = set(outcome.finished)
    known = {record.folder.name: record for record in records.records if record.folder.name not in ended}
    outcome.records = runs.read_records(out, known)
    runs.write_results(out, outcome.records.records)
    return outcome


def keep(specs: Sequence[RunSpec], out: Path) -> None:
    """Keep a grid in the results folder ``out``, with the files of plug-ins and protocols that its runs need.

    Raises ``BenchError`` if the folder cannot be written.
    """
    check_writable(out)
    for file in {file.sha256: file for spec in specs for file in spec.files.values()}.values():
        plugins.keep(file, out)
    for label in {spec.protocol for spec in specs}:
        protocols.keep(label, out / plugins.FOLDER)
    status.remember(out, specs)


def _note_changes(specs: Sequence[RunSpec], records: runs.Records) -> None:
    """Print which plug-ins' files have changed since the runs that are already in the folder."""
    now = {(name, file.sha256): file for spec in specs for name, file in spec.files.items()}
    before = [(name, file.sha256) for record in records.records for name, file in record.spec.files.items()]
    for name, sha256 in now:
        count = sum(other == name and digest != sha256 for other, digest in before)
        if count:
            path = now[name, sha256].path
            print(f"{path} is not what it was for {count} runs: a new version, not pooled with theirs", file=sys.stderr)


def prepare(specs: Sequence[RunSpec], resources: Resources) -> None:
    """Make the datasets of these runs ready for use."""
    with downloads() as report:
        for name in dict.fromkeys(spec.dataset for spec in specs):
            dataset_class(name).prepare(resources.data, report=report)


def estimate(specs: Sequence[RunSpec], resources: Resources) -> Plan:
    """Return what ``run_grid`` would cost with the same resources; nothing is downloaded for it."""
    slots = resources.slots()[: max(1, len(specs))]
    return measure(specs, slots, resources, lambda line: print(line, file=sys.stderr))


def run_single(run_id: str, out: Path, resources: Resources) -> tuple[str, str]:
    """Do one run that is known in the results folder, in this process; return how it ended and a line about it."""
    known = status.planned(out)
    if not known:
        raise BenchError(f"there is no kept grid in {str(out)!r}: dbench plan --keep --out FOLDER makes one")
    if run_id not in known:
        raise unknown("run", run_id, known)
    spec = known[run_id]
    activate(spec, out)
    resources = resources.on(choose_device(resources.devices))
    prepare([spec], resources)
    with Display(1) as display, stopping() as should_stop:

        def progress(phase: str, done: int, total: int) -> None:
            display.listen(Event(run_id, "progress", phase, done, total))

        return attempt(spec, out, resources, progress, should_stop)


def check_plugins(specs: Sequence[RunSpec]) -> None:
    """Raise ``BenchError`` if a model from outside the suite breaks the contract; call it before training."""
    kinds = {(spec.model, spec.dataset, spec.training.network): spec for spec in specs}
    for spec in kinds.values():
        entry = MODELS.entries.get(spec.model)  # a model in a file has no row
        if entry is not None and entry.group != "plugin":
            continue
        card = dataset_class(spec.dataset).card
        config = model_config(spec.model, spec.settings)
        shape, network = card.image_shape, spec.training.network
        try:
            check_model(model_class(spec.model), config, image_shape=shape, network_name=network, quick=True)
        except Exception as error:  # the code of a plug-in may raise anything
            kind = "" if isinstance(error, Violation) else f"{type(error).__name__}: "
            raise BenchError(
                f"the model {spec.model!r} breaks the suite's contract: {kind}{one_line(error)}. "
                "See disentangle_bench.models.model.Model, and check it with disentangle_bench.testing.check_model"
            ) from error


def check_writable(out: Path) -> None:
    """Make the results folder; raise ``BenchError`` if nothing can be written or locked there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            _check_locks(out, file)
    except OSError as error:
        raise BenchError(f"--out {str(out)!r} cannot be written ({error.strerror}): give another folder") from error


def _check_locks(out: Path, file: IO[bytes]) -> None:
    """Raise ``BenchError`` if the file system lacks kernel locks, with which runs are claimed."""
    try:
        import fcntl
    except ImportError:  # Windows has its own locks everywhere
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise BenchError(
            f"--out {str(out)!r} is on a file system without file locks ({error.strerror}): give a folder on another, "
            "or have it mounted with locks (NFS 4, Lustre with flock)"
        ) from error
