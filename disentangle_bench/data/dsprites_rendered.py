"""dsprites_rendered: dSprites drawn from its geometry, without a download; the name marks it as rendered."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.arrays import on_device, valid_index
from disentangle_bench.data.dataset import Batches, Card, Dataset
from disentangle_bench.data.dsprites import DUPLICATES, FACTORS
from disentangle_bench.data.outlines import POSITIONS, SIDE, draw

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

_BLOCK = 8_192


class DSpritesRendered(Dataset):
    """The dataset ``dsprites_rendered``: pixels 0 and 255."""

    card: ClassVar[Card] = Card(
        name="dsprites_rendered",
        version=1,
        summary="Squares, ellipses and hearts, drawn by this package from the geometry of dSprites; no download.",
        factor_names=tuple(FACTORS),
        factor_sizes=(3, 6, 40, 32, 32),
        image_shape=(1, SIDE, SIDE),
        licence="MIT",
        citation="disentangle-bench, dsprites_rendered v1; geometry after Matthey et al., dSprites, 2017.",
        factor_values=tuple(FACTORS.values()),
        notes=(DUPLICATES,),
    )

    def __init__(self) -> None:
        self._places: dict[torch.device, Batches] = {}

    @classmethod
    def load(cls, folder: Path) -> DSpritesRendered:
        """Open the dataset; nothing is read or written."""
        return cls()

    def images(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return images [n, h, w, 1] at positions [n]."""
        position = valid_index(index, len(self))
        case, cell = np.divmod(position, POSITIONS * POSITIONS)
        return draw(case, cell // POSITIONS, cell % POSITIONS)[..., np.newaxis]

    def place(self, device: torch.device) -> Batches:
        """Return batches drawn by the CPU or, on a CUDA device with enough room, from all images at a bit per pixel."""
        import torch

        if device in self._places:
            return self._places[device]
        size = len(self) * SIDE * SIDE // 8
        if device.type == "cuda" and 2 * size <= torch.cuda.mem_get_info(device)[0]:
            _log.info("%s: %.1f GB on %s", self.card.name, size / 1e9, device)
            self._places[device] = packed(self, device)
            return self._places[device]
        return super().place(device)


def packed(dataset: Dataset, device: torch.device, block: int = _BLOCK) -> Batches:
    """Return batches of a dataset whose pixels are 0 and 255, drawn now and kept on ``device`` at a bit per pixel."""
    import torch

    n, (_, h, w) = len(dataset), dataset.card.image_shape
    bits = torch.empty((n, h, w // 8, 1), dtype=torch.int8, device=device)
    for begin in range(0, n, block):
        images = dataset.images(np.arange(begin, min(begin + block, n)))
        bits[begin : begin + block, ..., 0] = torch.from_numpy(np.packbits(images[..., 0] > 0, axis=2).view(np.int8))
    order = torch.arange(8, dtype=torch.int8, device=device)  # numpy packs the first pixel into the highest bit

    def gather(index: torch.Tensor) -> torch.Tensor:
        # A pixel's bit is moved to the sign bit, which the shift back copies to all bits: 0 or 255.
        pixels = (bits[index] << order >> 7).view(torch.uint8)
        return pixels.view(-1, h, w, 1).permute(0, 3, 1, 2)

    return on_device(gather, n, device)
