"""SmallNORB (LeCun et al., 2004): toys photographed from all sides, read from the official binary files.

As in disentanglement_lib, both halves are used: 48,600 images of ten instances of five categories, from the first of
the two cameras. The files are in no particular order; their labels place the images in the grid.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card, OfficialFile
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.data.resizing import FILTERS, resized
from disentangle_bench.errors import BenchError

_TYPES: dict[int, np.dtype[Any]] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
"""Types of elements by magic number; what the format calls byte is unsigned."""

_FOLDER = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
_HALVES = (
    "smallnorb-5x46789x9x18x6x2x96x96-training",
    "smallnorb-5x01235x9x18x6x2x96x96-testing",
)
_PARTS = ("dat", "cat", "info")
_SIZES = {
    **{(0, "dat"): 131_896_188, (0, "cat"): 348, (0, "info"): 71_052},
    **{(1, "dat"): 130_799_817, (1, "cat"): 347, (1, "info"): 10_428},
}
_SHA256 = {
    (0, "dat"): "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
    (0, "cat"): "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
    (0, "info"): "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
    (1, "dat"): "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
    (1, "cat"): "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
    (1, "info"): "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
}


def _file(half: int, part: str) -> OfficialFile:
    name = f"{_HALVES[half]}-{part}.mat.gz"
    urls = (_FOLDER + name, _FOLDER.replace("https", "http") + name)
    return OfficialFile(name, urls, size=_SIZES[half, part], sha256=_SHA256[half, part])


class SmallNORB(OfficialDataset):
    """The dataset ``smallnorb``."""

    card: ClassVar[Card] = Card(
        name="smallnorb",
        version=1,
        summary="Photographs of toys from all sides under six lights: 48,600 grey images.",
        factor_names=("category", "instance", "elevation", "azimuth", "lighting"),
        factor_sizes=(5, 10, 9, 18, 6),
        image_shape=(1, 64, 64),
        licence="for research purposes only; never shipped with the package",
        citation="LeCun, Huang and Bottou, Learning Methods for Generic Object Recognition with Invariance to Pose "
        "and Lighting, CVPR 2004",
        source="https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
        files=tuple(_file(half, part) for half in range(2) for part in _PARTS),
        factor_values=(
            ("animal", "human", "airplane", "truck", "car"),
            tuple(range(10)),
            tuple(range(30, 75, 5)),
            tuple(range(0, 360, 20)),
            tuple(range(6)),
        ),
        resized=f"96 x 96 to 64 x 64, {FILTERS['lanczos']}",
        notes=(
            "Instances 4, 6, 7, 8 and 9 are the official training half, the others the testing half.",
            "The first camera of each pair.",
            "An instance has its meaning within its category: instance 3 of the cars is not like instance 3 elsewhere.",
        ),
    )

    @classmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in grid order, resized; takes 300 MB of memory, 200 of them for the finished dataset."""
        c, h, w = cls.card.image_shape
        out = np.empty((len(cls.card.grid), h, w, c), dtype=np.uint8)
        seen = np.zeros(len(out), dtype=bool)
        for begin in range(0, len(paths), 3):
            data, category, info = paths[begin : begin + 3]
            position = _positions(cls.card, category, info)
            if seen[position].any() or len(np.unique(position)) != len(position):
                raise BenchError(f"{info} names the same view twice.")
            seen[position] = True
            for k, image in enumerate(_first_views(data, len(position))):
                out[position[k]] = resized(image, cls.card.image_shape, "lanczos")
        if not seen.all():
            missing = cls.card.grid.factors(np.flatnonzero(~seen)[:1])[0].tolist()
            raise BenchError(f"{cls.card.name}: no file has the view {missing} of {', '.join(cls.card.factor_names)}.")
        yield out


def _header(file: gzip.GzipFile, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type and shape of a matrix from its header.

    That is a magic number, the number of dimensions, and at least three dimensions, used or not.
    """
    magic, ndim = struct.unpack("<ii", file.read(8))
    if magic not in _TYPES or not 1 <= ndim <= 8:
        raise BenchError(f"{path} is no NORB matrix of bytes or integers (it begins with {magic:#x}, {ndim}).")
    dims = struct.unpack(f"<{max(3, ndim)}i", file.read(4 * max(3, ndim)))
    return _TYPES[magic], dims[:ndim]


def _matrix(path: Path) -> npt.NDArray[np.int64]:
    with gzip.open(path) as file:
        kind, shape = _header(file, path)
        return np.frombuffer(file.read(), dtype=kind).reshape(shape).astype(np.int64)


def _positions(card: Card, category: Path, info: Path) -> npt.NDArray[np.int64]:
    """Return the positions [n] in the grid of the images of a half."""
    kinds, labels = _matrix(category), _matrix(info)
    if labels.shape != (len(kinds), 4):
        raise BenchError(f"{info} has labels {labels.shape} for {len(kinds)} images; four each are needed.")
    instance, elevation, azimuth, lighting = labels.T
    if (azimuth % 2).any():
        raise BenchError(f"{info} has odd azimuths; they count steps of 10 degrees and are 20 apart.")
    factors = np.stack([kinds, instance, elevation, azimuth // 2, lighting], axis=1)
    outside = (factors < 0) | (factors >= np.array(card.factor_sizes))
    if outside.any():
        k = int(np.flatnonzero(outside.any(axis=1))[0])
        raise BenchError(f"{info}: image {k} has the factors {factors[k].tolist()}, outside {list(card.factor_sizes)}.")
    return card.grid.index(factors)


def _first_views(path: Path, n: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the first image [h, w] of each of the n pairs, read one pair at a time."""
    with gzip.open(path) as file:
        kind, shape = _header(file, path)
        if kind != np.uint8 or len(shape) != 4 or shape[:2] != (n, 2):
            raise BenchError(f"{path} has {kind} {shape}; uint8 ({n}, 2, h, w) is needed.")
        _, pair, h, w = shape
        for k in range(n):
            content = file.read(pair * h * w)
            if len(content) != pair * h * w:
                raise BenchError(f"{path} ends after {k} of {n} pairs.")
            yield np.frombuffer(content, dtype=np.uint8).reshape(pair, h, w)[0]
        if file.read(1):  # reading past the end also checks the CRC-32
            raise BenchError(f"{path} goes on after {n} pairs.")
