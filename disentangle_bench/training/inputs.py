"""Inputs of one update: its images, the learning rates, and the model's clock.

On the CPU, these are made when the update asks for them. On a CUDA device, they are stored there for many updates
ahead, and an update takes its row by a counter that is also there. It needs nothing from the host, so that it can be
captured as a CUDA graph, and a captured update does the same arithmetic as an uncaptured one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from disentangle_bench.data.dataset import Batches
from disentangle_bench.training.batches import Stream, WeightedStream

AHEAD = 128
"""Number of updates whose images and numbers are stored on the device at a time."""

Rates: TypeAlias = Callable[[int], list[float]]
"""Function from the number of an update to the learning rate of each parameter group."""


class Sources(NamedTuple):
    """Sources of inputs: images by position and their order, the optimiser whose learning rates follow ``rates``, and
    the number of ticks of the model's clock per update (``clock``).
    """

    batches: Batches
    stream: Stream | WeightedStream
    optimizer: torch.optim.Optimizer
    rates: Rates
    clock: int


class HostInputs:
    """Inputs made by the host, one update at a time."""

    def __init__(self, sources: Sources) -> None:
        self._batches, self._stream, self._optimizer, self._rates, self._clock = sources
        self._step = 0

    def seek(self, step: int) -> None:
        """Set the learning rates of update ``step``, and remember the step for its images and time."""
        self._step = step
        for group, rate in zip(self._optimizer.param_groups, self._rates(step), strict=True):
            group["lr"] = rate

    def take(self) -> tuple[Tensor, int]:
        """Return the update's images as bytes [b, c, h, w], and its time on the model's clock."""
        return self._batches(self._stream.batch(self._step)), self._clock * self._step


class DeviceInputs:
    """Inputs stored on a CUDA device; learning rates and the clock are tensors there.

    Images of a dataset that is not on the device itself are copied to a fixed buffer before each update.
    """

    def __init__(self, sources: Sources, device: torch.device) -> None:
        self._batches, self._stream, self._optimizer, self._rates, self._clock = sources
        # Only a placed dataset that says so can make batches from positions on the device.
        resident = getattr(self._batches, "resident", False)
        self._gather: Any = getattr(self._batches, "gather", None) if resident else None
        self._next = self._end = -1
        size, groups = self._stream.batch_size, len(self._optimizer.param_groups)
        self._index = torch.zeros(AHEAD, size, dtype=torch.int64, device=device)
        self._numbers = torch.zeros(AHEAD, groups + 1, dtype=torch.float64, device=device)
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._now = torch.zeros((), dtype=torch.float64, device=device)
        self._lr = [torch.zeros((), dtype=torch.float32, device=device) for _ in range(groups)]
        self._pixels: Tensor | None = None

    def seek(self, step: int) -> None:
        """Make sure that the row of update ``step`` is on the device."""
        for group, rate in zip(self._optimizer.param_groups, self._lr, strict=True):
            group["lr"] = rate  # loading a checkpoint replaces the tensors
        if step != self._next or step == self._end:
            self._lay_out(step)
        self._next = step + 1
        if self._gather is None:
            images = self._batches(self._stream.batch(step))
            if self._pixels is None:
                self._pixels = torch.empty_like(images)
            self._pixels.copy_(images)

    def _lay_out(self, first: int) -> None:
        steps = range(first, first + AHEAD)
        numbers = np.array([[*self._rates(step), self._clock * step] for step in steps])
        self._numbers.copy_(torch.from_numpy(numbers))
        if self._gather is not None:
            self._index.copy_(torch.from_numpy(np.stack([self._stream.batch(step) for step in steps])))
        self._row.zero_()
        self._end = first + AHEAD

    def take(self) -> tuple[Tensor, Tensor]:
        """Return the update's images as bytes [b, c, h, w], and its time on the model's clock as a tensor without axes.

        This also sets the learning rates and moves on by one row. Only the device does any work.
        """
        numbers = self._numbers.index_select(0, self._row).squeeze(0)
        for rate, number in zip(self._lr, numbers[:-1], strict=True):
            rate.copy_(number)
        self._now.copy_(numbers[-1])
        if self._pixels is None:
            images: Tensor = self._gather(self._index.index_select(0, self._row).squeeze(0))
        else:
            images = self._pixels
        self._row.add_(1)
        return images, self._now
