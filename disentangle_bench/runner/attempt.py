"""One run, from its spec to its record: the function that every executor calls."""

from __future__ import annotations

import contextlib
import errno
import gc
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from disentangle_bench import __version__
from disentangle_bench.atomic import atomic_path, remove_leftovers
from disentangle_bench.codes import Evaluation
from disentangle_bench.config.protocols import is_ranked
from disentangle_bench.data.dataset import Dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import activate, dataset_class, model_class
from disentangle_bench.runner.environment import (
    PARTS,
    commit,
    environment,
    note_part,
    peak_device_memory,
    peak_memory,
    repeatable,
)
from disentangle_bench.runner.resources import Resources
from disentangle_bench.scoring.encode import draw, encode
from disentangle_bench.scoring.files import save_arrays, save_evaluation
from disentangle_bench.scoring.score import score
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import claims, files, runs
from disentangle_bench.training.checkpoints import discard_checkpoints
from disentangle_bench.training.trackers import tracked
from disentangle_bench.training.trainer import Interrupted, Trainer

Report = Callable[[str, int, int], None]
"""Progress callback: the phase, the amount done, and the total amount."""


Release = Callable[[], None]
"""Callback for when the device is no longer needed: all that is left of the run is scoring on the CPU."""

ShouldStop = Callable[[], bool]
"""Function called between two steps of the work; it returns whether the run should write a checkpoint and end."""


def attempt(
    spec: RunSpec,
    out: Path,
    resources: Resources,
    report: Report,
    should_stop: ShouldStop,
    *,
    fresh: bool = False,
    release: Release = lambda: None,
) -> tuple[str, str]:
    """Try one run in the results folder ``out``: every executor calls this, most of them in a process of the
    run's own.

    Return how it ended and a line that says more: ``done``; ``failed`` (``failed.json`` gives details); ``stopped``,
    with a checkpoint; or ``busy``, because another process holds the run. A finished run is ``done`` at once unless
    ``fresh``.
    """
    folder = runs.run_folder(out, spec)
    try:
        activate(spec, out)
        with claims.claimed(folder):
            remove_leftovers(folder, held=True)
            if fresh:  # the record goes too: a second attempt, not fresh, must not mistake it for its own
                discard_checkpoints(folder)
                (folder / runs.RECORD).unlink(missing_ok=True)
            elif runs.is_finished(folder):
                return "done", "by another process"
            else:
                runs.set_aside(folder)
            with claims.Heartbeat(folder) as heartbeat:
                run_one(spec, folder, resources, _both(heartbeat.beat, report), should_stop, release)
        return "done", ""
    except claims.Busy as busy:
        return "busy", str(busy)
    except Interrupted as interruption:
        return "stopped", str(interruption)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything, SystemExit too
        line = explain(error)
        # A full disk has no room for the report either; the line still reaches the listener.
        with contextlib.suppress(OSError):
            runs.write_failure(folder, spec, line, traceback.format_exc(), out, resources.options())
        return "failed", line


def explain(error: BaseException) -> str:
    """Return an exception as one line, with a remedy if one is known."""
    if isinstance(error, BenchError):
        return " ".join(str(error).split())
    line = " ".join(f"{type(error).__name__}: {error}".split())
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return f"{line} (out of memory: run fewer at a time with --jobs or --runs-per-device)"
    if "C++ compiler" in text:
        return f"{line} (--compile needs a C++ compiler: install one, such as g++, or leave --compile out)"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{line} (the disk is full: make room and give the same command again)"
    return line


@contextmanager
def stopping() -> Iterator[ShouldStop]:
    """Catch SIGINT, SIGTERM and SIGHUP, so that the process continues; yield a function that returns whether one came.

    SIGINT and SIGHUP stay ignored if they already were (``nohup``). Outside the main thread nothing can be caught.
    """
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and (name == "SIGTERM" or signal.getsignal(number) is not signal.SIG_IGN):
                before[number] = signal.signal(number, note)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _both(first: Report, second: Report) -> Report:
    def report(phase: str, done: int, total: int) -> None:
        first(phase, done, total)
        second(phase, done, total)

    return report


def run_one(
    spec: RunSpec,
    folder: Path,
    resources: Resources,
    report: Report,
    should_stop: ShouldStop = lambda: False,
    release: Release = lambda: None,
) -> None:
    """Train, score and record one run in ``folder``; resume what an interrupted attempt left there."""
    files.write_json(folder / runs.SPEC, {"schema": files.SCHEMA, "spec": spec.model_dump(mode="json")})
    with repeatable(resources.threads):
        evaluation, content = _train(spec, folder, resources, report, should_stop)
        if torch.cuda.is_initialized():  # free the memory that the trainer and the dataset held
            gc.collect()
            torch.cuda.empty_cache()
        release()
        names = list(spec.scoring.metrics)

        def report_metric(name: str) -> None:
            _report_scoring(report, should_stop, name, names.index(name), len(names))

        scores = score(evaluation, spec.scoring.metrics, report_metric)
    save_arrays(folder / "matrices.npz", scores.arrays)
    content["seconds"] |= {"metrics": scores.seconds}
    content["peak_memory"] = {"host": peak_memory()} | content["peak_memory"]
    content |= {"scores": scores.rows, "notes": scores.notes}
    content |= {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
    content["files"] = {name: files.digest(folder / name) for name in ("codes.npz", "model.safetensors")}
    runs.write_record(folder, content)  # last: it says that the run is finished
    discard_checkpoints(folder)
    (folder / PARTS).unlink(missing_ok=True)
    (folder / runs.FAILED).unlink(missing_ok=True)


def _train(
    spec: RunSpec, folder: Path, resources: Resources, report: Report, should_stop: ShouldStop
) -> tuple[Evaluation, dict[str, Any]]:
    """Do everything that needs the device: train, encode and draw.

    Writes weights, codes and pictures to ``folder``; returns the codes and the record's content except the scores.
    """
    device, dataset = torch.device(resources.devices), dataset_class(spec.dataset).load(resources.data)
    _check_versions(spec, dataset)
    trainer = Trainer(spec, dataset, device, compile=resources.compile, capture=resources.capture)
    trainer.restore(folder)
    used = {"threads": resources.threads, "compile": resources.compile, "capture": trainer.captured}
    used = environment(device) | used
    parts = note_part(folder, trainer.step, used)
    updates = spec.training.updates
    with tracked(resources.trackers, spec, folder, trainer.step) as on_row:
        trainer.run(
            folder,
            progress=lambda step: report("training", step, updates),
            should_stop=should_stop,
            on_row=on_row,
            checkpoint_seconds=resources.checkpoint_seconds,
        )
    began = time.monotonic()

    def report_encoding(done: int, total: int) -> None:
        _report_scoring(report, should_stop, "encoding", done, total)

    evaluation = encode(trainer.model, dataset, spec, device, report_encoding)
    save_evaluation(folder / "codes.npz", evaluation)
    save_arrays(folder / "pictures.npz", draw(trainer.model, dataset, evaluation, device))
    encoding = time.monotonic() - began
    weights = {name: tensor.contiguous().cpu() for name, tensor in trainer.model.state_dict().items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights))
    images = updates * spec.training.batch_size
    return evaluation, {
        "schema": files.SCHEMA,
        "run_id": spec.run_id,
        "digest": spec.digest,
        "spec": spec.model_dump(mode="json"),
        "ranked": is_ranked(spec),
        "dataset": {"factor_names": dataset.card.factor_names, "factor_sizes": dataset.card.factor_sizes},
        "package": {"version": __version__, "commit": commit()},
        "environment": used,
        **({"parts": parts} if len(parts) > 1 else {}),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "images": {
            "autoencoder": images,
            "discriminator": images * (trainer.model.config.players - 1),
            "evaluation": len(evaluation.factors),
        },
        "seconds": {"training": trainer.seconds, "encoding": encoding},
        "peak_memory": {"device": peak_device_memory(device)},
    }


def _check_versions(spec: RunSpec, dataset: Dataset) -> None:
    """Raise ``BenchError`` if the model or the dataset has changed since the run was planned."""
    for kind, name, planned, now in (
        ("model", spec.model, spec.model_version, model_class(spec.model).version),
        ("dataset", spec.dataset, spec.dataset_version, dataset.card.version),
    ):
        if planned != now:
            raise BenchError(
                f"the {kind} {name!r} is version {now} now, and this run was planned with version {planned}: "
                "give dbench run or dbench plan --keep again"
            )


def _report_scoring(report: Report, should_stop: ShouldStop, phase: str, done: int, total: int) -> None:
    report(phase, done, total)
    if should_stop():  # the last checkpoint holds the trained model, so only scoring is done again
        raise Interrupted(f"stopped while scoring, in {phase}")
