"""One run, from its spec to its record: the function that every executor calls."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from threadpoolctl import threadpool_limits

from disentangle_bench import __version__
from disentangle_bench.atomic import atomic_path, remove_leftovers
from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.cores import limited
from disentangle_bench.data.dataset import Dataset
from disentangle_bench.registry import dataset_class
from disentangle_bench.runner.resources import Resources
from disentangle_bench.scoring.encode import draw, encode, save_arrays, save_evaluation, score
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import claims, files, runs
from disentangle_bench.training.checkpoints import discard_checkpoints
from disentangle_bench.training.trackers import tracked
from disentangle_bench.training.trainer import Interrupted, Trainer

Report = Callable[[str, int, int], None]
"""Called with the phase, how much of it is done, and how much there is."""


ShouldStop = Callable[[], bool]
"""Asked between two steps of the work: whether somebody wants the run to write a checkpoint and end."""


def attempt(
    spec: RunSpec, out: Path, resources: Resources, report: Report, should_stop: ShouldStop, fresh: bool = False
) -> tuple[str, str]:
    """Try one run in the results folder ``out``: what every executor calls, in a process of the run's own.

    Return how it ended and a line that says more: ``done``; ``failed`` (and ``failed.json`` tells); ``stopped``, with a
    checkpoint; or ``busy``, because another process holds the run. A finished run is done at once unless ``fresh``.
    """
    folder = runs.run_folder(out, spec)
    try:
        with claims.claimed(folder):
            remove_leftovers(folder, held=True)
            if fresh:  # the record goes too: a second attempt, not fresh, must not take it for its own
                discard_checkpoints(folder)
                (folder / runs.RECORD).unlink(missing_ok=True)
            elif runs.is_finished(folder):
                return "done", "by another process"
            else:
                runs.set_aside(folder)
            with claims.Heartbeat(folder) as heartbeat:
                run_one(spec, folder, resources, _both(heartbeat.beat, report), should_stop)
        return "done", ""
    except claims.Busy as busy:
        return "busy", str(busy)
    except Interrupted as interruption:
        return "stopped", str(interruption)
    except Exception as error:
        line = explain(error)
        # A full disk has no room for the report either; the line still reaches the one who listens.
        with contextlib.suppress(OSError):
            runs.write_failure(folder, spec, line, traceback.format_exc(), out)
        return "failed", line


def explain(error: Exception) -> str:
    """An exception as one line, with what to do where that is known."""
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
    """Turn SIGINT, SIGTERM and SIGHUP into a question: within, the process continues, and the function given says
    whether one came.

    SIGINT and SIGHUP stay ignored where they were (``nohup``). Outside the main thread nothing can be caught.
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
    spec: RunSpec, folder: Path, resources: Resources, report: Report, should_stop: ShouldStop = lambda: False
) -> None:
    """Train, score and record one run in ``folder``; takes up what an interrupted attempt left there."""
    files.write_json(folder / runs.SPEC, {"schema": files.SCHEMA, "spec": spec.model_dump(mode="json")})
    with repeatable(resources.threads):
        device = torch.device(resources.devices)
        dataset = dataset_class(spec.dataset).load(resources.data)
        trainer = Trainer(spec, dataset, device, compile=resources.compile, capture=resources.capture)
        trainer.restore(folder)
        updates = spec.training.updates
        with tracked(resources.trackers, spec, folder, trainer.step) as on_row:
            trainer.run(
                folder,
                progress=lambda step: report("training", step, updates),
                should_stop=should_stop,
                on_row=on_row,
                checkpoint_seconds=resources.checkpoint_seconds,
            )

        def report_scoring(phase: str, done: int, total: int) -> None:
            report(phase, done, total)
            if should_stop():  # the last checkpoint is the trained model's: only scoring is to be done again
                raise Interrupted(f"stopped while scoring, in {phase}")

        record = _score(trainer, dataset, folder, device, report_scoring)
        record["environment"] |= {
            "threads": resources.threads,
            "compile": resources.compile,
            "capture": trainer.captured,
        }
        weights = {name: tensor.contiguous().cpu() for name, tensor in trainer.model.state_dict().items()}
        with atomic_path(folder / "model.safetensors") as temporary:
            temporary.write_bytes(save(weights))
    record["files"] = {name: files.digest(folder / name) for name in ("codes.npz", "model.safetensors")}
    runs.write_record(folder, record)  # last: it says that the run is finished
    discard_checkpoints(folder)
    (folder / runs.FAILED).unlink(missing_ok=True)


def _score(trainer: Trainer, dataset: Dataset, folder: Path, device: torch.device, report: Report) -> dict[str, Any]:
    """Score the trained model, keep codes, matrices and pictures, and make the record's content."""
    spec = trainer.spec
    began = datetime.now(UTC)
    evaluation = encode(trainer.model, dataset, spec, device, lambda done, n: report("encoding", done, n))
    save_evaluation(folder / "codes.npz", evaluation)
    save_arrays(folder / "pictures.npz", draw(trainer.model, dataset, evaluation, spec, device))
    encoding = (datetime.now(UTC) - began).total_seconds()
    names = list(spec.scoring.metrics)
    scores = score(evaluation, spec.scoring.metrics, lambda name: report(name, names.index(name), len(names)))
    save_arrays(folder / "matrices.npz", scores.arrays)
    images = spec.training.updates * spec.training.batch_size
    n = len(evaluation.factors)
    return {
        "schema": files.SCHEMA,
        "run_id": spec.run_id,
        "digest": spec.digest,
        "spec": spec.model_dump(mode="json"),
        "ranked": PROTOCOLS[spec.protocol].ranked and not spec.changed,
        "dataset": {"factor_names": dataset.card.factor_names, "factor_sizes": dataset.card.factor_sizes},
        "package": {"version": __version__, "commit": commit()},
        "environment": _environment(device),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "images": {
            "autoencoder": images,
            "discriminator": images * (trainer.model.config.players - 1),
            "evaluation": n,
        },
        "seconds": {"training": trainer.seconds, "encoding": encoding, "metrics": scores.seconds},
        "peak_memory": {"host": peak_memory(), "device": _peak_device_memory(device)},
        "scores": scores.rows,
        "notes": scores.notes,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """The process's settings under which the same spec gives the same bits; put back afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    uninitialized: Any = torch.utils.deterministic
    filling, benchmark = uninitialized.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    uninitialized.fill_uninitialized_memory = False  # a check for torch's own tests; costs time
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    try:
        with limited(threads), threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        uninitialized.fill_uninitialized_memory, torch.backends.cudnn.benchmark = filling, benchmark


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
    }


def _processor() -> str:
    """The processor's name; its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory() -> int | None:
    """The most memory this process held, in bytes; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage reports the parent's peak if that was higher
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_device_memory(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that the package lies in (with ``+`` if files differ from it), None if installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        words = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
