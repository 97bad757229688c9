"""The contract of an executor, and the table of those there are.

An executor is a module with ``execute(work, listen, options)``. It must call ``attempt`` once for every spec, in any
process on any machine that sees the results folder, and tell ``listen`` what happens. Adding one is a file and a line.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.spec import RunSpec


@dataclass(frozen=True)
class Event:
    """Something happened to a run.

    ``kind`` is started, progress, retried, done, failed, stopped (it can go on later) or busy (somebody else is running
    it); ``text`` is the phase, the error or the reason; ``done`` of ``total`` counts within the phase.
    """

    run_id: str
    kind: str
    text: str = ""
    done: int = 0
    total: int = 0


ENDS = {"done", "failed", "stopped", "busy"}
"""Kinds of events after which nothing more happens to a run."""

Listen: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True)
class Work:
    """What an executor is to do: the specs, the results folder, and what each run may use.

    ``device`` is where a run goes if the executor has no say of its own, ``data`` the folder with the datasets,
    ``fresh`` whether runs start over instead of taking up their checkpoints and records, ``track`` names trackers,
    ``checkpoint_seconds`` lie between two checkpoints, ``compile`` says whether networks are compiled.
    """

    specs: Sequence[RunSpec]
    out: Path
    device: str
    threads: int
    data: Path
    fresh: bool
    track: tuple[str, ...]
    checkpoint_seconds: float
    compile: bool = False


Options: TypeAlias = Mapping[str, Any]


EXECUTORS = {
    "local": "disentangle_bench.runner.executors.local",
    "slurm": "disentangle_bench.runner.executors.slurm",
    "ray": "disentangle_bench.runner.executors.ray",
}
"""Modules by the name that ``--executor`` takes."""


def load(name: str) -> ModuleType:
    """The executor called ``name``. One whose library is not installed says how to install it."""
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    try:
        return importlib.import_module(EXECUTORS[name])
    except ImportError as error:
        raise BenchError(
            f"the executor {name!r} needs {error.name}, which is not installed: pip install 'disentangle-bench[{name}]'"
        ) from error
