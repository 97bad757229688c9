"""Cars3D (Reed et al., 2015): 183 cars from all sides, read from the official archive without unpacking it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card, OfficialFile
from disentangle_bench.data.files import CHUNK
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.data.resizing import FILTERS, resized
from disentangle_bench.errors import BenchError

_FOLDER = "cars"
_LIST = "list.txt"


class Cars3D(OfficialDataset):
    """The dataset ``cars3d``."""

    card: ClassVar[Card] = Card(
        name="cars3d",
        version=1,
        summary="Computer models of cars from all sides: 17,568 rendered images.",
        factor_names=("elevation", "azimuth", "object"),
        factor_sizes=(4, 24, 183),
        image_shape=(3, 64, 64),
        licence="none stated by the authors",
        citation="Reed, Zhang, Zhang and Lee, Deep Visual Analogy-Making, NeurIPS 2015; models of Fidler et al. 2012",
        source="http://www.scottreed.info",
        files=(
            OfficialFile(
                "nips2015-analogy-data.tar.gz",
                (
                    "https://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
                    "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
                ),
                md5="4e866a7919c1beedf53964e6f7a23686",
            ),
        ),
        factor_values=(tuple(range(4)), tuple(15 * k for k in range(24)), tuple(range(183))),
        resized=f"128 x 128 to 64 x 64, {FILTERS['lanczos']}",
        notes=("Cars are numbered by list.txt of the archive; loaders that list the folder number them otherwise.",),
    )

    @classmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in grid order, resized; takes 300 MB of memory, as each file is one car from all sides."""
        elevations, azimuths, cars = cls.card.factor_sizes
        listed, views = _read(paths[0], cls.card)
        if len(listed) != cars:
            raise BenchError(f"{paths[0]} lists {len(listed)} cars; {cls.card.name} has {cars}.")
        absent = next((name for name in listed if name not in views), None)
        if absent:
            raise BenchError(f"{paths[0]} lists {absent} and does not have it.")
        for e in range(elevations):
            for a in range(azimuths):
                yield np.stack([views[name][e, a] for name in listed])


def _read(source: Path, card: Card) -> tuple[list[str], dict[str, npt.NDArray[np.uint8]]]:
    """Return the names of the cars in order, and the views [elevation, azimuth, h, w, c] by name."""
    listed: list[str] | None = None
    views = {}
    # Read from start to end; nothing is written to disk.
    with gzip.open(source) as content, tarfile.open(fileobj=content, mode="r|") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if member.isfile() and path.parent.name == _FOLDER else None
            if file is None:
                continue
            if path.name == _LIST:
                listed = [_stem(line) for line in file.read().decode().splitlines() if line.strip()]
            elif path.suffix == ".mat":
                views[path.stem] = _views(file.read(), card, f"{source}: {member.name}")
        while content.read(CHUNK):  # reading to the very end checks the CRC-32
            pass
    if listed is None:
        raise BenchError(f"{source} has no {_FOLDER}/{_LIST}; the cars are numbered by it.")
    return listed, views


def _stem(line: str) -> str:
    return PurePosixPath(line.strip()).name.removesuffix(".mat")


def _views(content: bytes, card: Card, where: str) -> npt.NDArray[np.uint8]:
    """Return the resized views [elevation, azimuth, h, w, c] of a file with ``im`` [h, w, c, azimuth, elevation]."""
    from scipy.io import loadmat

    elevations, azimuths, _ = card.factor_sizes
    matrix = loadmat(io.BytesIO(content), variable_names=["im"]).get("im")
    shape = (card.image_shape[0], azimuths, elevations)
    if matrix is None or matrix.dtype != np.uint8 or matrix.shape[2:] != shape:
        content_type = "nothing" if matrix is None else f"{matrix.dtype} {matrix.shape}"
        raise BenchError(f"{where} has {content_type} as 'im'; uint8 (h, w, {', '.join(map(str, shape))}) is needed.")
    return np.stack(
        [
            [resized(np.ascontiguousarray(matrix[..., a, e]), card.image_shape, "lanczos") for a in range(azimuths)]
            for e in range(elevations)
        ]
    )
