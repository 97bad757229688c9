"""Datasets that are one flat array of bytes, in memory or mapped from a file."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Batches, Dataset, Index
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 256 * 2**20
"""How much of a mapped array is in memory at once while it is copied to a device."""


def valid_index(index: npt.ArrayLike, n: int) -> Index:
    """``index`` as positions [b]; ``IndexError`` for one outside 0 .. n - 1, which a device would read or abort on."""
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
        if array.shape != shape or array.dtype != np.uint8:
            raise BenchError(
                f"{self.card.name} is uint8 {list(shape)} (images, rows, columns, channels), "
                f"but {array.dtype} {list(array.shape)} was given."
            )
        self._array = array

    def images(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images [n, h, w, c] at positions [n], as a copy; a mapped file is read in its own order."""
        position = valid_index(index, len(self))
        if not isinstance(self._array, np.memmap):
            return self._array[position]
        order = np.argsort(position, kind="stable")
        out = np.empty((len(position), *self._array.shape[1:]), dtype=np.uint8)
        out[order] = self._array[position[order]]
        return out

    def place(self, device: torch.device) -> Batches:
        """The whole array goes to a CUDA device with twice the room for it; else each batch is copied from memory."""
        import torch

        if device.type == "cuda" and 2 * self._array.nbytes <= torch.cuda.mem_get_info(device)[0]:
            return resident(self._array, device)
        return lambda index: torch.from_numpy(self.images(index)).to(device).permute(0, 3, 1, 2)


def resident(array: npt.NDArray[np.uint8], device: torch.device) -> Batches:
    """Copy ``array`` [n, h, w, c] to ``device`` block by block, and give the function that takes batches there."""
    import torch

    images = torch.empty(array.shape, dtype=torch.uint8, device=device)
    rows = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for begin in range(0, len(array), rows):
        # A copy, because torch warns of arrays that it may not write.
        images[begin : begin + rows] = torch.from_numpy(np.array(array[begin : begin + rows]))

    def batch(index: Index) -> torch.Tensor:
        return images[torch.from_numpy(valid_index(index, len(images))).to(device)].permute(0, 3, 1, 2)

    return batch
