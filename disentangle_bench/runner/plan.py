"""Estimate of a grid's cost on this machine, from a short measurement of each kind of run in it."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from rich import box
from rich.table import Table

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.cores import limited
from disentangle_bench.data.dataset import Card, Dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import dataset_class
from disentangle_bench.runner.environment import peak_memory, repeatable
from disentangle_bench.runner.resources import Resources
from disentangle_bench.scoring.encode import BATCH
from disentangle_bench.scoring.score import score
from disentangle_bench.spec import RunSpec
from disentangle_bench.store.status import duration
from disentangle_bench.training.batches import evaluation_sample
from disentangle_bench.training.precision import cpu_computes_bfloat16
from disentangle_bench.training.trainer import Trainer, to_float

PROBE_BATCH = 16
WARM_UP, LEAST, MOST, SECONDS = 3, 3, 20, 2.0
"""Updates between the first one and those that are measured (a captured update is recorded then), the fewest and the
most that are measured, and the seconds after which one is enough.
"""

SCORED_ROWS, WARM_UP_ROWS = 600, 60
LONG_HOURS = 24.0
WORTHWHILE = 0.9
"""Share of the training time from which bfloat16 is no longer worth leaving the protocol for."""


@dataclass(frozen=True)
class Cost:
    """Cost of one kind of run (a spec without its seed), and the number of such runs.

    ``disk`` is the size of what a finished run keeps, ``memory`` the most that the measuring process held; both in
    bytes.
    """

    dataset: str
    model: str
    changed: tuple[str, ...]
    runs: int
    training_seconds: float
    scoring_seconds: float
    memory: int | None
    disk: int


@dataclass(frozen=True)
class Plan:
    """A grid's costs, and the wall time if ``at_a_time`` runs go side by side.

    ``bf16`` is the time of an update in bfloat16 as a share of that in float32, for the kind of run whose updates take
    longest; None where the processor would emulate it, and for runs that are not in float32.
    """

    costs: tuple[Cost, ...]
    device: str
    at_a_time: int
    bf16: float | None = None

    @property
    def hours(self) -> float:
        """Wall time in hours."""
        return sum(c.runs * (c.training_seconds + c.scoring_seconds) for c in self.costs) / self.at_a_time / 3600

    @property
    def disk(self) -> int:
        """Bytes of all finished runs."""
        return sum(c.runs * c.disk for c in self.costs)

    def table(self) -> Table:
        """Return the table for the terminal."""
        caption = (
            f"{duration(3600 * self.hours)} on {self.device}, {self.at_a_time} at a time; "
            f"{self.disk / 1e6:,.0f} MB on disk"
        )
        if self.bf16 is not None and self.bf16 < WORTHWHILE:
            caption += f"\n--precision bf16 would take {self.bf16:.0%} of the training time, off-protocol"
        table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
        for name in ("run", "runs", "training", "scoring", "memory", "disk"):
            table.add_column(name, justify="left" if name == "run" else "right")
        for cost in self.costs:
            memory = "" if cost.memory is None else f"{cost.memory / 1e6:,.0f} MB"
            times = duration(cost.training_seconds), duration(cost.scoring_seconds)
            name = " ".join([cost.dataset, cost.model, *cost.changed])
            table.add_row(name, str(cost.runs), *times, memory, f"{cost.disk / 1e6:,.0f} MB")
        return table

    def as_json(self) -> dict[str, Any]:
        """Return the content for ``--json``."""
        rows = [asdict(cost) for cost in self.costs]
        return {
            "device": self.device,
            "at_a_time": self.at_a_time,
            "hours": self.hours,
            "disk": self.disk,
            "bf16": self.bf16,
            "runs": rows,
        }


def measure(specs: Sequence[RunSpec], slots: Sequence[str], resources: Resources, say: Callable[[str], None]) -> Plan:
    """Measure a few updates and a small evaluation of each kind of run, and scale them up.

    All points of a search are assumed to cost what its first one does, since they differ only in settings.
    """
    firsts: dict[tuple[str, ...], RunSpec] = {}
    for spec in specs:
        firsts.setdefault(_kind(spec), spec)
    kinds = Counter(firsts[_kind(spec)].model_copy(update={"seed": 0}).model_dump_json() for spec in specs)
    costs = []
    device = torch.device(slots[0])
    slowest: tuple[float, RunSpec] | None = None
    with repeatable(resources.threads):
        scoring: dict[str, float] = {}
        for text, runs in kinds.items():
            spec = RunSpec.model_validate_json(text)
            say(f"measuring {spec.model} on {spec.dataset}")
            dataset = _dataset(spec.dataset, resources.data)
            trainer, update = _measured(spec, dataset, device, resources)
            if slowest is None or update > slowest[0]:
                slowest = update, spec
            key = f"{spec.dataset} {spec.settings['latents']} {spec.scoring}"
            if key not in scoring:
                scoring[key] = _metric_seconds(spec, dataset)
            costs.append(
                Cost(
                    dataset=spec.dataset,
                    model=spec.model,
                    changed=spec.departures,
                    runs=runs,
                    training_seconds=update * spec.training.updates,
                    scoring_seconds=scoring[key] + _encoding_seconds(trainer, dataset),
                    memory=peak_memory(),
                    disk=_disk(trainer, dataset),
                )
            )
        bf16 = None if slowest is None else _bf16_share(*slowest, device, resources)
    return Plan(tuple(costs), slots[0], len(slots), bf16)


def _bf16_share(seconds: float, spec: RunSpec, device: torch.device, resources: Resources) -> float | None:
    """Return the time of an update in bfloat16 as a share of ``seconds``, those in float32."""
    if spec.training.precision != "fp32" or (device.type == "cpu" and not cpu_computes_bfloat16()):
        return None
    training = spec.training.model_copy(update={"precision": "bf16"})
    lowered = spec.model_copy(update={"training": training})
    _, update = _measured(lowered, _dataset(spec.dataset, resources.data), device, resources)
    return update / seconds


def _kind(spec: RunSpec) -> tuple[str, ...]:
    """Return a key that all runs of the same cost share."""
    if spec.search is None:
        return (spec.model_copy(update={"seed": 0}).digest,)
    return spec.model, spec.dataset, spec.training.model_dump_json(), spec.scoring.model_dump_json()


class StandIn(Dataset):
    """Stand-in for a dataset that is not on this machine: noise of its shape, so that an estimate needs no download."""

    def __init__(self, card: Card) -> None:
        self.card = card  # type: ignore[misc]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raise ``NotImplementedError``: a stand-in is made from a card."""
        raise NotImplementedError

    def images(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return noise as images [n, h, w, c]."""
        c, h, w = self.card.image_shape
        return np.random.default_rng(0).integers(256, size=(np.size(index), h, w, c), dtype=np.uint8)

    def factors(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return factor values [n, k] from the card's grid, even if the images do not fill the grid."""
        return self.card.grid.factors(np.asarray(index) % len(self.card.grid))


def _dataset(name: str, data: Path) -> Dataset:
    """Return the dataset, or a stand-in for one whose files are missing."""
    kind = dataset_class(name)
    try:
        return kind.load(data)
    except BenchError:
        return StandIn(kind.card)


def _synchronised(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _measured(spec: RunSpec, dataset: Dataset, device: torch.device, resources: Resources) -> tuple[Trainer, float]:
    """Return a trainer and the seconds that an update takes, scaled up from a small batch if one takes long."""
    small = min(PROBE_BATCH, spec.training.batch_size)
    training = spec.training.model_copy(update={"batch_size": small})
    how = {"compile": resources.compile, "capture": resources.capture}
    trainer = Trainer(spec.model_copy(update={"training": training}), dataset, device, **how)
    seconds = _update_seconds(trainer) * spec.training.batch_size / small
    if seconds > SECONDS:
        return trainer, seconds
    trainer = Trainer(spec, dataset, device, **how)
    return trainer, _update_seconds(trainer)


def _update_seconds(trainer: Trainer) -> float:
    """Return the seconds that an update takes. The very first is never measured: it imports, compiles and allocates."""
    device = trainer.generator.device
    trainer.update()
    seconds: list[float] = []
    while len(seconds) < WARM_UP + LEAST or (len(seconds) < MOST and sum(seconds) < SECONDS):
        began = _synchronised(device)
        trainer.update()
        seconds.append(_synchronised(device) - began)
        if seconds[-1] > SECONDS:
            return seconds[-1]
    return statistics.median(seconds[WARM_UP:])


def _encoding_seconds(trainer: Trainer, dataset: Dataset) -> float:
    index, _ = evaluation_sample(trainer.spec, len(dataset))
    device = trainer.generator.device
    with torch.inference_mode():
        x = to_float(trainer.images(index[:BATCH]))
        trainer.model.decode(trainer.model.encode(x))
        began = _synchronised(device)
        trainer.model.decode(trainer.model.encode(x))
        return (_synchronised(device) - began) * len(index) / len(x)


def _metric_seconds(spec: RunSpec, dataset: Dataset) -> float:
    """Return the seconds that scoring takes, measured on a few rows of random codes and scaled up linearly."""
    index, n_train = evaluation_sample(spec, len(dataset))
    rows = min(SCORED_ROWS, len(index))
    values = np.random.default_rng(0).standard_normal((rows, int(spec.settings["latents"])))
    factors = dataset.factors(index[:rows])

    def sample(count: int) -> Evaluation:
        n = max(2, count * n_train // len(index))
        return Evaluation(Codes(values[:count]), factors[:count], n, np.ones(count))

    with limited(1):
        score(sample(min(rows, WARM_UP_ROWS)), spec.scoring.metrics)  # compiles the kernels, or loads compiled ones
        began = time.perf_counter()
        score(sample(rows), spec.scoring.metrics)
    return (time.perf_counter() - began) * len(index) / rows


def _disk(trainer: Trainer, dataset: Dataset) -> int:
    """Return the bytes of weights and codes (at most 16 bytes per latent and 8 per factor and image), uncompressed."""
    weights = sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    index, _ = evaluation_sample(trainer.spec, len(dataset))
    return weights + len(index) * (16 * trainer.model.config.latents + 8 * len(dataset.card.factor_names) + 8)
