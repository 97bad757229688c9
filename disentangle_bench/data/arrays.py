"""Datasets that are one flat array of bytes, in memory or mapped from a file, and their placement on a device."""

from __future__ import annotations

import logging
import os
from abc import ABC
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Batches, Dataset, Index
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 2**20
"""Bytes of a mapped array that are in memory at a time while it is copied to a device."""

BUFFERS = 2
"""Number of batches that may be on their way to a device at the same time."""


def valid_index(index: npt.ArrayLike, n: int) -> Index:
    """Return ``index`` as positions [b]; raise ``IndexError`` for one outside 0 .. n - 1: it would abort a device."""
    position = np.asarray(index, dtype=np.int64)
    if position.size and (position.min() < 0 or position.max() >= n):
        raise IndexError(f"positions are 0 .. {n - 1}, but {position.min()} .. {position.max()} were given")
    return position


class ArrayDataset(Dataset, ABC):
    """A dataset over an array uint8 [n, h, w, c] in grid order; a subclass adds the card and ``load``.

    Raises ``BenchError`` if the array does not have the card's size.
    """

    def __init__(self, array: npt.NDArray[np.uint8]) -> None:
        c, h, w = self.card.image_shape
        shape = (len(self), h, w, c)
        if array.shape == shape[:3] and c == 1:
            array = array[..., np.newaxis]
        if array.shape != shape or array.dtype != np.uint8:
            raise BenchError(
                f"{self.card.name} is uint8 {list(shape)} (images, rows, columns, channels), "
                f"but {array.dtype} {list(array.shape)} was given."
            )
        self._array = array
        self._places: dict[torch.device, Batches] = {}

    def images(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return a copy of the images [n, h, w, c] at positions [n]; a mapped file is read in its own order."""
        position = valid_index(index, len(self))
        out = np.empty((len(position), *self._array.shape[1:]), dtype=np.uint8)
        gather(self._array, position, out)
        return out

    def place(self, device: torch.device) -> Batches:
        """Return batches on ``device``, with the array wherever there is room for it; the log says where.

        A CUDA device with room for twice the array holds the array itself. Otherwise the array is read into memory
        once, if that has room for twice the array, or else left in its file; then each batch is gathered into
        page-locked memory and copied from there while the device computes. On the CPU, batches are gathered from the
        array as it is. A second call returns the same batches.
        """
        if device not in self._places:
            self._places[device] = self._placed(device)
        return self._places[device]

    def _placed(self, device: torch.device) -> Batches:
        if device.type != "cuda":
            return staged(self._array, device)
        import torch

        name, size, free = self.card.name, self._array.nbytes, torch.cuda.mem_get_info(device)[0]
        if 2 * size <= free:
            try:
                batches = resident(self._array, device)
            except torch.cuda.OutOfMemoryError:  # another caller took the memory first
                free = torch.cuda.mem_get_info(device)[0]
            else:
                _log.info("%s: %.1f GB on %s, which had %.1f GB free", name, size / 1e9, device, free / 1e9)
                return batches
        memory = free_memory()
        if isinstance(self._array, np.memmap) and memory is not None and 2 * size <= memory:
            _log.info("%s: %.1f GB in memory, as %s has %.1f GB free", name, size / 1e9, device, free / 1e9)
            return staged(np.array(self._array), device)
        _log.info("%s: %.1f GB stay where they are; %s has %.1f GB free", name, size / 1e9, device, free / 1e9)
        return staged(self._array, device)


def free_memory() -> int | None:
    """Return the bytes of main memory that are available without swapping; None if the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def gather(array: npt.NDArray[np.uint8], position: Index, out: npt.NDArray[np.uint8]) -> None:
    """Copy the images of ``array`` at ``position`` [b] to ``out`` [b, ...]."""
    if not isinstance(array, np.memmap):
        np.take(array, position, axis=0, out=out, mode="clip")  # positions are checked; mode="raise" would buffer
        return
    # In the file's order, so that a disk reads forwards. Row by row, since fancy indexing would sort and copy once more
    # (measured: 5 times slower from a file of 6 GB). Through a plain view, to avoid memmap's slow indexing.
    plain = array.view(np.ndarray)
    order = np.argsort(position, kind="stable")
    for k, p in zip(order.tolist(), position[order].tolist(), strict=True):
        out[k] = plain[p]


def resident(array: npt.NDArray[np.uint8], device: torch.device) -> Batches:
    """Copy ``array`` [n, h, w, c] to ``device`` block by block, and return batches gathered there."""
    import torch

    images = torch.empty(array.shape, dtype=torch.uint8, device=device)
    rows = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for begin in range(0, len(array), rows):
        # A copy, because torch warns about arrays that are read-only.
        images[begin : begin + rows] = torch.from_numpy(np.array(array[begin : begin + rows]))

    return on_device(lambda index: images[index].permute(0, 3, 1, 2), len(images), device)


def on_device(gather: Callable[[torch.Tensor], torch.Tensor], n: int, device: torch.device) -> Batches:
    """Return resident batches of n images from ``gather``; see ``Batches``."""
    import torch

    return Batches(lambda index: gather(torch.from_numpy(valid_index(index, n)).to(device)), gather)


def staged(array: npt.NDArray[np.uint8], device: torch.device) -> Batches:
    """Return batches that are gathered from ``array`` [n, h, w, c] and copied to ``device``.

    A CUDA device gets them from page-locked buffers, so that copying overlaps with computing. The array itself is not
    page-locked: its rows have to be gathered anyway, and the system could not use that memory for anything else.
    """
    import torch

    if device.type != "cuda":

        def copied(index: Index) -> torch.Tensor:
            position = valid_index(index, len(array))
            out = np.empty((len(position), *array.shape[1:]), dtype=np.uint8)
            gather(array, position, out)
            return torch.from_numpy(out).to(device).permute(0, 3, 1, 2)

        return Batches(copied)

    ring: list[tuple[torch.Tensor, torch.cuda.Event]] = []
    turn = 0

    def streamed(index: Index) -> torch.Tensor:
        nonlocal turn
        position = valid_index(index, len(array))
        slot, turn = turn % BUFFERS, turn + 1
        if slot == len(ring) or len(ring[slot][0]) < len(position):
            fresh = torch.empty((len(position), *array.shape[1:]), dtype=torch.uint8, device="cpu", pin_memory=True)
            ring[slot : slot + 1] = [(fresh, torch.cuda.Event())]
        buffer, arrived = ring[slot]
        arrived.synchronize()  # wait for the copy that used this buffer before, if there was one
        rows = buffer[: len(position)]
        gather(array, position, rows.numpy())
        images = rows.to(device, non_blocking=True)
        arrived.record(torch.cuda.current_stream(device))
        return images.permute(0, 3, 1, 2)

    return Batches(streamed)
