"""Shapes3D (Burgess and Kim, 2018), read from its official file ``3dshapes.h5``.

That file is compressed in chunks that each hold 4 x 4 pixels of 15,000 images, so one random image costs hundreds of
chunks to read. It is therefore read once, in order, into one flat array of bytes (5.9 GB), which is mapped into
memory from then on.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from disentangle_bench.atomic import atomic_path
from disentangle_bench.data.arrays import ArrayDataset
from disentangle_bench.data.dataset import Card
from disentangle_bench.errors import BenchError

_log = logging.getLogger(__name__)

BLOCK = 15_000
"""Images read at once, the official chunk: 184 MB."""


class Shapes3D(ArrayDataset):
    """The dataset ``shapes3d``."""

    card: ClassVar[Card] = Card(
        name="shapes3d",
        version=1,
        summary="A shaded object in a room: 480,000 rendered images, the original 3D Shapes of DeepMind.",
        factor_names=("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"),
        factor_sizes=(10, 10, 10, 8, 4, 15),
        image_shape=(3, 64, 64),
        licence="Apache-2.0",
        citation="Burgess and Kim, 3D Shapes Dataset, 2018, https://github.com/google-deepmind/3d-shapes",
        source="https://storage.googleapis.com/3d-shapes/3dshapes.h5",
        files=("3dshapes.h5",),
    )
    sha256: ClassVar[str] = "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
    """SHA-256 of the official file."""

    @classmethod
    def load(cls, folder: Path) -> Shapes3D:
        """Map the prepared array from ``folder``; where there is none, prepare it from the official file beside it.

        Raises ``BenchError`` if neither is there, or the official file is not what it should be.
        """
        folder = Path(folder)
        source, target = folder / cls.card.files[0], folder / f"{cls.card.name}-v{cls.card.version}.npy"
        if not target.exists():
            if not source.exists():
                raise BenchError(
                    f"{cls.card.name} needs the file {source.name}: download it from {cls.card.source} (268 MB) and "
                    f"put it into {folder}. The dataset rooms3d has the same factors and needs no download."
                )
            build(source, target, cls.card, cls.sha256)
        try:
            return cls(np.load(target, mmap_mode="r", allow_pickle=False))
        except (OSError, EOFError, ValueError, BenchError) as error:
            raise BenchError(f"{target} is damaged ({error}); delete it and it is prepared again.") from error


def label_grid(card: Card) -> npt.NDArray[np.float64]:
    """The labels [n, 6] in grid order, as the official file has them; the README of the dataset misstates them."""
    floor, wall, thing, scale, shape, orientation = card.factor_sizes
    values = (
        np.arange(floor) / 10,
        np.arange(wall) / 10,
        np.arange(thing) / 10,
        np.linspace(0.75, 1.25, scale),
        np.arange(shape, dtype=np.float64),
        np.linspace(-30.0, 30.0, orientation),
    )
    factors = card.grid.factors(np.arange(len(card.grid)))
    return np.stack([v[factors[:, k]] for k, v in enumerate(values)], axis=1)


def build(source: Path, target: Path, card: Card, sha256: str) -> None:
    """Read ``source``, checked against ``sha256`` and the card, into the flat array ``target`` [n, h, w, c].

    Uses a few hundred MB of memory. ``target`` appears only when it is whole; processes take turns. Raises
    ``BenchError``.
    """
    import h5py

    try:
        with FileLock(target.with_suffix(".lock")):
            if target.exists():  # another process was first
                return
            for stale in target.parent.glob(f".{target.stem}-*.tmp{target.suffix}"):
                stale.unlink()  # of a process that was killed: nobody writes while we hold the lock
            _log.info("preparing %s from %s", target, source)
            with source.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise BenchError(
                    f"{source} is not the official file (SHA-256 {found}, not {sha256}); "
                    f"download it from {card.source}."
                )
            with h5py.File(source, "r") as content, atomic_path(target) as temporary:
                _check(content, source, card)
                _copy(content["images"], temporary)
            _log.info("prepared %s", target)
    except OSError as error:
        raise BenchError(f"cannot prepare {target} from {source}: {error}") from error


def _check(content: Any, source: Path, card: Card) -> None:
    """Raise ``BenchError`` unless the open file has the card's images in grid order."""
    c, h, w = card.image_shape
    n = len(card.grid)
    if "images" not in content or "labels" not in content:
        raise BenchError(f"{source} has the keys {sorted(content)}; 'images' and 'labels' are needed.")
    images, labels = content["images"], content["labels"]
    if images.shape != (n, h, w, c) or images.dtype != np.uint8:
        raise BenchError(f"{source} has images {images.dtype} {images.shape}; uint8 {(n, h, w, c)} is needed.")
    expected = label_grid(card)
    if labels.shape != expected.shape:
        raise BenchError(f"{source} has labels {labels.shape}; {expected.shape} is needed.")
    wrong = np.flatnonzero((np.abs(labels[:] - expected) > 1e-6).any(axis=1))
    if len(wrong):
        k = int(wrong[0])
        raise BenchError(
            f"{source}: image {k} has labels {labels[k].tolist()}, but the grid has {expected[k].tolist()}."
        )


def _copy(images: Any, target: Path) -> None:
    """Write the open array ``images`` to ``target`` as .npy, in blocks."""
    # A plain file, not a memory map: written pages of a map count as this process's memory.
    with target.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for begin in range(0, images.shape[0], BLOCK):
            file.write(np.ascontiguousarray(images[begin : begin + BLOCK]).data)
