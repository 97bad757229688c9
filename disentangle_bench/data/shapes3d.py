"""Shapes3D (Burgess and Kim, 2018), read from its official file ``3dshapes.h5``.

That file is compressed in chunks that each hold 4 x 4 pixels of 15,000 images, so reading one random image takes
hundreds of chunks. The file is therefore read once, in order, into one flat array of bytes (5.9 GB), which is mapped
into memory from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card, OfficialFile
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.errors import BenchError

BLOCK = 15_000
"""Images read at a time, as many as in an official chunk: 184 MB."""


class Shapes3D(OfficialDataset):
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
        source="https://github.com/google-deepmind/3d-shapes",
        files=(
            OfficialFile(
                "3dshapes.h5",
                (
                    "https://storage.googleapis.com/3d-shapes/3dshapes.h5",
                    "https://storage.googleapis.com/storage/v1/b/3d-shapes/o/3dshapes.h5?alt=media",
                ),
                size=267_573_662,
                sha256="0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
            ),
        ),
        factor_values=(
            *(tuple(k / 10 for k in range(10)),) * 3,
            tuple(0.75 + 0.5 * k / 7 for k in range(8)),
            ("cube", "cylinder", "sphere", "capsule"),
            tuple(-30 + 60 * k / 14 for k in range(15)),
        ),
        notes=("The README of the dataset gives other ranges of hue and scale than the labels in the file have.",),
    )

    @classmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in grid order, a chunk at a time; takes a few hundred MB of memory."""
        import h5py

        with h5py.File(paths[0], "r") as content:
            _check(content, paths[0], cls.card)
            images = content["images"]
            for begin in range(0, images.shape[0], BLOCK):
                yield images[begin : begin + BLOCK]


def label_grid(card: Card) -> npt.NDArray[np.float64]:
    """Return the labels [n, 6] in grid order, as in the official file; the dataset's README misstates them."""
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
