"""Optional copies of a run's history and scores for TensorBoard or Weights & Biases, which are never read back.

Each tracker is a context manager that yields a function to call with every history row. Its package is imported only if
it is asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from disentangle_bench.errors import BenchError, extra, unknown
from disentangle_bench.spec import RunSpec

Row: TypeAlias = dict[str, float]
OnRow: TypeAlias = Callable[[Row], None]
"""Callback that is called with a row of the history: its ``step``, and numbers by name."""


@contextmanager
def _tensorboard(spec: RunSpec, folder: Path, step: int) -> Iterator[OnRow]:
    """Write event files to ``tensorboard/`` in the run's folder, purging an earlier attempt's events past ``step``."""
    library: Any = importlib.import_module("torch.utils.tensorboard")
    with library.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1) as writer:

        def log(row: Row) -> None:
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, int(row["step"]))

        yield log


@contextmanager
def _wandb(spec: RunSpec, folder: Path, step: int) -> Iterator[OnRow]:
    """Write a W&B run of the same name to ``wandb/`` in the run's folder, offline unless WANDB_MODE says otherwise."""
    wandb: Any = importlib.import_module("wandb")
    mode = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(
        project="disentangle-bench", id=spec.run_id, dir=folder, mode=mode, resume="allow", config=spec.model_dump()
    )
    try:
        yield lambda row: run.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))
    finally:
        run.finish()


TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb}
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check(names: Sequence[str]) -> None:
    """Raise ``BenchError`` if a tracker is unknown or its package is not installed, before anything is trained."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise BenchError(f"--{name} needs the package {PACKAGES[name]}: {extra(name)}")


@contextmanager
def tracked(names: Sequence[str], spec: RunSpec, folder: Path, step: int) -> Iterator[OnRow]:
    """Yield a callback that passes rows on to all trackers of these names, for a run that is at ``step``."""
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(TRACKERS[name](spec, folder, step)) for name in names]

        def log(row: Row) -> None:
            for each in logs:
                each(row)

        yield log
