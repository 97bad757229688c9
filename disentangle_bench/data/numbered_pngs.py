"""The format of Isaac3D and Falcor3D (Nie et al., 2020): a zip file of numbered PNGs with a table of labels.

The images, 128 x 128, are resized once, while they are unpacked; no PNG is written to disk.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card, OfficialFile
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.data.resizing import FILTERS, resized
from disentangle_bench.errors import BenchError

BLOCK = 2_048
"""Images decoded at a time: 25 MB, and as much again in PNGs."""

_PAGE = "https://github.com/NVlabs/High-res-disentanglement-datasets"
_CITATION = "Nie et al., Semi-Supervised StyleGAN for Disentanglement Learning, ICML 2020"


class NumberedPNGs(OfficialDataset):
    """Base of Isaac3D and Falcor3D: ``<folder>/images/%06d.png`` in grid order, and labels."""

    labels: ClassVar[str]
    """Name of the labels' file in the zip: a ``.npy``, float [n, k], with i / (s - 1) for value i of s in a factor."""

    @classmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in grid order, resized; takes under 200 MB of memory."""
        card = cls.card
        with zipfile.ZipFile(paths[0]) as archive, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            root = _root(archive, paths[0], cls.labels)
            with archive.open(root + cls.labels) as file:
                table = np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
            _check_labels(table, card, paths[0])
            names = [f"{root}images/{k:06}.png" for k in range(len(card.grid))]
            held = set(archive.namelist())
            absent = next((name for name in names if name not in held), None)
            if absent:
                raise BenchError(f"{paths[0]} has no {absent}; {card.name} has {len(names)} images.")
            for begin in range(0, len(names), BLOCK):
                # Read here, in the archive's order, but decoded in parallel, since Pillow lets other threads run.
                content = [archive.read(name) for name in names[begin : begin + BLOCK]]
                yield np.stack(list(pool.map(lambda png: _decoded(png, card), content)))


def _root(archive: zipfile.ZipFile, source: Path, labels: str) -> str:
    """Return the folder within the zip that holds the labels."""
    members = [name for name in archive.namelist() if name == labels or name.endswith(f"/{labels}")]
    if len(members) != 1:
        raise BenchError(f"{source} has {len(members)} files called {labels}; one is needed.")
    return members[0].removesuffix(labels)


def _check_labels(table: npt.NDArray[Any], card: Card, source: Path) -> None:
    """Raise ``BenchError`` unless each factor of the grid is a column of ``table``, in any order."""
    n, k = len(card.grid), len(card.factor_sizes)
    if table.shape != (n, k):
        raise BenchError(f"{source} has labels {table.shape}; {(n, k)} is needed.")
    factors = card.grid.factors(np.arange(n))
    left = list(range(k))
    for j, (name, size) in enumerate(zip(card.factor_names, card.factor_sizes, strict=True)):
        # Compared with a tolerance, since labels are rounded: k / (n - 1) times (n - 1) may be just below k.
        wanted = factors[:, j] / max(size - 1, 1)
        same = [column for column in left if np.abs(table[:, column] - wanted).max() < 0.25 / max(size - 1, 1)]
        if not same:
            raise BenchError(f"{source}: no column of the labels is {name} as the grid has it; is it another upload?")
        left.remove(same[0])


def _decoded(png: bytes, card: Card) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return resized(np.asarray(image.convert("RGB")), card.image_shape, "bicubic")


def numbered_card(
    name: str, summary: str, file: str, drive: str, factors: dict[str, int], notes: tuple[str, ...]
) -> Card:
    """Return the card of one of the two datasets; ``drive`` is the file's ID on Google Drive."""
    return Card(
        name=name,
        version=2,
        summary=summary,
        factor_names=tuple(factors),
        factor_sizes=tuple(factors.values()),
        image_shape=(3, 64, 64),
        licence="CC-BY-4.0",
        citation=_CITATION,
        source=_PAGE,
        files=(OfficialFile(file, (f"https://drive.google.com/uc?export=download&id={drive}",)),),
        factor_values=tuple(tuple(k / (size - 1) for k in range(size)) for size in factors.values()),
        resized=f"128 x 128 to 64 x 64, {FILTERS['bicubic']}",
        notes=notes,
    )
