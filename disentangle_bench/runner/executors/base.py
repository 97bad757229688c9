"""Contract of an executor.

An executor is a module with two functions. ``parse(resources)`` returns the executor's own frozen settings; it raises
``BenchError`` for any that are wrong, before anything is prepared or looked for. ``execute(work, settings, listen)``
calls ``attempt`` once for every spec, in any process on any machine that sees the results folder, and reports to
``listen`` what happens.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from disentangle_bench.errors import BenchError, extra, unknown
from disentangle_bench.runner.executors import EXECUTORS
from disentangle_bench.runner.resources import Resources
from disentangle_bench.spec import RunSpec

ATTEMPTS = 2
"""How often a run is tried if its process is lost."""

STOP_SECONDS = 10.0
"""How long runs that were asked to stop have for a checkpoint."""


@dataclass(frozen=True)
class Event:
    """Event in a run's life.

    ``kind`` is started, progress, retried, done, failed, stopped (it can be resumed) or busy (another process is
    running it); ``text`` is the phase, the error or the reason; ``done`` of ``total`` counts within the phase.
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
    """Runs to do in the results folder ``out``, and what each may use. If ``fresh``, runs start over instead of
    continuing from their checkpoints and records.
    """

    specs: Sequence[RunSpec]
    out: Path
    resources: Resources
    fresh: bool


def load(name: str) -> ModuleType:
    """Return the executor called ``name``; raise ``BenchError`` with the command that installs what it needs."""
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    try:
        return importlib.import_module(EXECUTORS[name].module)
    except ImportError as error:
        raise BenchError(f"the executor {name!r} needs {error.name}, which is missing: {extra(name)}") from error


def pairs(executor: str, text: str) -> dict[str, str]:
    """Return ``key=value,...`` as a dictionary; raise ``BenchError`` for anything else."""
    given: dict[str, str] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in word.partition("="))
        key = key.replace("-", "_")
        if not key.isidentifier() or not equals or not value:
            raise BenchError(f"--{executor} {word!r} is not understood: give key=value, several with commas between")
        given[key] = value
    return given
