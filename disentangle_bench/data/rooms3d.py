"""rooms3d: rooms with one object, drawn by a ray caster on the factor grid of Shapes3D; needs no download.

Geometry depends only on scale, shape and orientation (480 cases), and colour only on the three hues, so the whole
dataset is 480 stacks of masks, which say how much of each pixel is floor, wall, object and sky, times how brightly that
part is lit. An image is the sum of the masks times their colours, composed on demand.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from disentangle_bench.atomic import atomic_path
from disentangle_bench.data.arrays import on_device, valid_index
from disentangle_bench.data.dataset import Batches, Card, Dataset, Index
from disentangle_bench.data.files import check_writable
from disentangle_bench.data.raycaster import CASES, SCALES, SHAPES, SIDE, render
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

HUES = np.array(
    [
        (255, 0, 0),
        (255, 153, 0),
        (204, 255, 0),
        (51, 255, 0),
        (0, 255, 102),
        (0, 255, 255),
        (0, 102, 255),
        (51, 0, 255),
        (204, 0, 255),
        (255, 0, 153),
    ],
    dtype=np.uint8,
)
"""HSV(k / 10, 1, 1) as RGB [10, 3]; times 255, all of them are integers."""
SKY = (153, 226, 249)

MASKS_SHA256 = "335f3fc889e91660fc1fd8265820711cd6cfddbf2b59365d5cfbb3da3088417d"
"""SHA-256 of the bytes of the masks [480, 4, 64, 64]; every machine must draw exactly these."""


def _digest(masks: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(masks.tobytes()).hexdigest()


def _read(file: Path) -> npt.NDArray[np.uint8] | None:
    """Return the cached masks; None if they are absent or not the published ones."""
    try:
        masks: npt.NDArray[np.uint8] = np.load(file, allow_pickle=False)
    except Exception:  # numpy raises almost anything for a damaged file, even BadZipFile and MemoryError
        return None
    return masks if masks.shape == (CASES, 4, SIDE, SIDE) and _digest(masks) == MASKS_SHA256 else None


def cached_masks(folder: Path) -> npt.NDArray[np.uint8]:
    """Return the masks [480, 4, 64, 64] from ``folder``, drawn and kept there on first use; processes take turns.

    If the folder cannot be written, they are drawn each time. Raises ``BenchError`` if this machine draws masks other
    than the published ones.
    """
    file = folder / f"rooms3d-v{Rooms3D.card.version}.npy"
    masks = _read(file)
    if masks is not None:
        return masks
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
        with FileLock(file.with_suffix(".lock")):
            masks = _read(file)  # another process may have drawn them meanwhile
            if masks is None:
                if file.exists():
                    _log.warning("%s is damaged; drawing it again", file)
                masks = _draw()
                with atomic_path(file) as temporary:
                    np.save(temporary, masks)
    except OSError as error:
        _log.info("the masks of rooms3d are not kept, as %s cannot be written (%s)", folder, error)
        return _draw() if masks is None else masks
    return masks


def _draw() -> npt.NDArray[np.uint8]:
    """Return the masks, freshly rendered and checked; raise ``BenchError`` if they are not the published ones."""
    _log.info("drawing the masks of rooms3d")
    begin = time.perf_counter()
    masks = render()
    if _digest(masks) != MASKS_SHA256:
        raise BenchError(
            f"rooms3d drawn on this machine has SHA-256 {_digest(masks)}, not {MASKS_SHA256}: numbers from it would "
            "not be comparable. Please report this with your processor and numpy version."
        )
    _log.info("drew the masks of rooms3d in %.1f s", time.perf_counter() - begin)
    return masks


def _compose(masks: Any, colours: Any, case: Any, hues: Any, out: Any) -> None:
    """Fill images ``out`` [b, 128, 96] from masks [480, 4, 128, 96] and colours [1000, 4, 96]; compiled by numba.

    The arrays are shaped so that the inner loop has a fixed length, walks through memory in steps of one and fits 16
    bits, which makes the compiler use vectors (15 times faster). The masks of a pixel sum to at most 255, so a sum of
    products is at most 255 * 255, and (s + (s >> 8)) >> 8 with s = sum + 128 is that sum / 255, rounded to nearest.
    """
    for image in range(case.shape[0]):
        mask = masks[case[image]]
        colour = colours[hues[image]]
        for i in range(mask.shape[1]):
            for j in range(mask.shape[2]):
                s = mask[0, i, j] * colour[0, j] + mask[1, i, j] * colour[1, j]
                s = np.uint16(s + mask[2, i, j] * colour[2, j] + mask[3, i, j] * colour[3, j] + 128)
                out[image, i, j] = (s + (s >> 8)) >> 8


@functools.cache
def _compiled() -> Callable[..., None]:
    from disentangle_bench.jit import njit

    return njit(nogil=True)(_compose)


class Rooms3D(Dataset):
    """The procedural dataset ``rooms3d``, from its masks [480, 4, 64, 64]; usually made by ``load``."""

    card: ClassVar[Card] = Card(
        name="rooms3d",
        version=1,
        summary="A shaded object in a room, drawn by this package on the factor grid of Shapes3D; no download.",
        factor_names=("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"),
        factor_sizes=(10, 10, 10, 8, 4, 15),
        image_shape=(3, SIDE, SIDE),
        licence="MIT",
        factor_values=(
            *(tuple(k / 10 for k in range(10)),) * 3,
            SCALES,
            SHAPES,
            tuple(-30 + 60 * k / 14 for k in range(15)),
        ),
        citation="disentangle-bench, rooms3d v1; factors after Burgess and Kim, 3D Shapes Dataset, 2018.",
    )

    def __init__(self, masks: npt.NDArray[np.uint8]) -> None:
        self._masks = masks.reshape(CASES, 4, SIDE * SIDE)
        hue = np.arange(1000)
        sky = np.broadcast_to(np.array(SKY, dtype=np.uint8), (1000, 3))
        # The colours [1000, 4, 3] of floor, wall, object and sky for each combination of hues.
        self._colours = np.stack([HUES[hue // 100], HUES[hue // 10 % 10], HUES[hue % 10], sky], axis=1)
        # Both are laid out like the images, red green blue: see _compose.
        self._masks_rgb = np.repeat(self._masks, 3, axis=2).reshape(CASES, 4, 128, 96)
        self._colours_rgb = np.tile(self._colours, (1, 1, 32)).astype(np.uint16)

    @classmethod
    def load(cls, folder: Path) -> Rooms3D:
        """Open the dataset; the masks are drawn on first use and kept in ``folder`` (8 MB).

        Raises ``BenchError`` if this machine draws other pixels.
        """
        return cls(cached_masks(Path(folder)))

    def _split(self, index: npt.ArrayLike) -> tuple[Index, Index]:
        """Return the case [n] in 0..479 and the hues [n] in 0..999 of the images at ``index``."""
        position = valid_index(index, len(self))
        return position % CASES, position // CASES

    def images(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return images [n, h, w, c] at positions [n]."""
        case, hues = self._split(index)
        out = np.empty((len(case), 128, 96), dtype=np.uint8)
        _compiled()(self._masks_rgb, self._colours_rgb, case, hues, out)
        return out.reshape(-1, SIDE, SIDE, 3)

    def place(self, device: torch.device) -> Batches:
        """Return batches composed on ``device``: on a CPU as by ``images``, elsewhere from masks kept there (8 MB)."""
        return super().place(device) if device.type == "cpu" else self.place_masks(device)

    def place_masks(self, device: torch.device) -> Batches:
        """Return batches composed from masks on ``device``, by operations that every device has."""
        import torch

        masks = torch.from_numpy(self._masks).to(device).unsqueeze(3)
        colours = torch.from_numpy(self._colours.astype(np.int32)).to(device).unsqueeze(2)

        def gather(index: torch.Tensor) -> torch.Tensor:
            # Integers, not a matrix product, give the same bytes under autocast, under TF32 and on every device.
            total = (masks[index % CASES] * colours[index // CASES]).sum(1, dtype=torch.int32)
            return ((total + 127) // 255).to(torch.uint8).view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)

        return on_device(gather, len(self), device)
