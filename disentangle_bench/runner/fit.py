"""Limits of a machine: runs that fit into memory, and runs at a time on an accelerator (``--runs-per-device auto``).

For the latter, processes train the grid's largest kind of run for a few seconds: one alone, then two, four and eight
side by side. The number is doubled as long as their total speed grows by the factor ``GAIN``, and memory and cores
suffice.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from disentangle_bench.cores import available
from disentangle_bench.errors import BenchError
from disentangle_bench.processes import Channel, Process
from disentangle_bench.registry import dataset_class, model_config
from disentangle_bench.runner.environment import repeatable
from disentangle_bench.runner.resources import Resources
from disentangle_bench.spec import RunSpec
from disentangle_bench.training.trainer import Trainer

PROBE = "disentangle_bench.runner.fit:probe"
MOST = 8
WARM_UP = 5
"""Updates before the first that is measured: in these, libraries choose kernels and a captured update is recorded."""

SECONDS = 2.0
GAIN = 1.1
CONTEXT_BYTES = 600_000_000
"""Bytes of a CUDA device's memory that a process takes besides its tensors."""

SHARE = 0.9
"""Part of the free memory that runs may take."""


def runs_per_device(specs: Sequence[RunSpec], resources: Resources) -> int:
    """Return how many runs at a time suit one of the accelerators; 1 on a CPU, where the cores decide instead."""
    device = resources.slots()[0]
    if not specs or device == "cpu":
        return 1
    spec = max(specs, key=_weight)
    argument = {"spec": spec.model_dump(mode="json"), "resources": resources.on(device).model_dump(mode="json")}
    with ExitStack() as stack:
        probes = [stack.enter_context(Process(PROBE, argument))]
        memory, free = _answer(probes[0])
        most = min(MOST, available(), 1 + int(max(0.0, SHARE * free) // memory))
        for _ in range(most - 1):
            probes.append(stack.enter_context(Process(PROBE, argument)))
        for late in probes[1:]:
            _answer(late)
        speeds: dict[int, float] = {}
        count = 1
        while count <= most and best(speeds) == max(speeds, default=1):
            for going in probes[:count]:
                going.send(SECONDS)
            speeds[count] = sum(_answer(going)[0] for going in probes[:count])
            count *= 2
        return best(speeds)


def best(speeds: Mapping[int, float]) -> int:
    """Return the number of runs up to which each doubling raised their total speed by the factor ``GAIN``."""
    number = 1
    while 2 * number in speeds and speeds[2 * number] >= GAIN * speeds[number]:
        number *= 2
    return number


def check_memory(specs: Sequence[RunSpec]) -> None:
    """Raise ``BenchError`` for a run that this machine's memory cannot hold, even if nothing else uses it.

    It counts the images of an update as float32, and a layer of 256 inputs for the latents, with its gradient and
    Adam's two moments.
    """
    if not hasattr(os, "sysconf"):  # not known on Windows
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for spec in {spec.model_copy(update={"seed": 0}).model_dump_json(): spec for spec in specs}.values():
        latents = int(spec.settings["latents"])
        needed = 4 * _weight(spec) + 4 * 4 * 256 * latents
        if needed > memory:
            raise BenchError(
                f"{spec.model} on {spec.dataset} with training.batch_size = {spec.training.batch_size} and "
                f"model.latents = {latents} needs more than {needed / 1e9:,.0f} GB, and this machine has "
                f"{memory / 1e9:,.0f} GB of memory: give a smaller batch or fewer latents"
            )


def _weight(spec: RunSpec) -> int:
    """Return how many numbers the images of one update of all players hold: a run with more takes more memory."""
    players, shape = model_config(spec.model, spec.settings).players, dataset_class(spec.dataset).card.image_shape
    return spec.training.batch_size * players * shape[0] * shape[1] * shape[2]


def _answer(process: Process) -> list[float]:
    for answer in process:
        numbers: list[float] = answer
        return numbers
    raise BenchError(f"--runs-per-device auto could not be measured ({process.wait()}): give a number")


def probe(argument: dict[str, Any], channel: Channel) -> None:
    """Send the bytes of memory that a run takes and those left free beside it, then train on demand.

    Each line of the input is a number of seconds: train for that long, and send the updates per second.
    """
    spec, resources = RunSpec.model_validate(argument["spec"]), Resources.model_validate(argument["resources"])
    device = torch.device(resources.devices)
    with repeatable(resources.threads):
        dataset = dataset_class(spec.dataset).load(resources.data)
        trainer = Trainer(spec, dataset, device, compile=resources.compile, capture=resources.capture)
        for _ in range(WARM_UP):
            trainer.update()
        memory, free = CONTEXT_BYTES, 0
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            memory, free = memory + torch.cuda.memory_reserved(device), torch.cuda.mem_get_info(device)[0]
        channel.send([memory, free])
        for line in sys.stdin:
            began, updates = time.perf_counter(), 0
            while time.perf_counter() - began < float(line):
                trainer.update()
                updates += 1
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            channel.send([updates / (time.perf_counter() - began)])
