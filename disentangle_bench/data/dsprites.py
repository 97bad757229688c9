"""dSprites (Matthey et al., 2017), read from its official HDF5 file or, if only that is there, its ``.npz``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card, OfficialFile
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.data.zips import streamed_array
from disentangle_bench.errors import BenchError

BLOCK = 23_040
"""Images read at a time: 94 MB."""

_STEM = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
_FOLDERS = (
    "https://github.com/google-deepmind/dsprites-dataset/raw/master/",
    "https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master/",
)

FACTORS: dict[str, tuple[Any, ...]] = {
    "shape": ("square", "ellipse", "heart"),
    "scale": tuple(0.5 + 0.1 * k for k in range(6)),
    "orientation": tuple(2 * math.pi * k / 39 for k in range(40)),
    "pos_x": tuple(k / 31 for k in range(32)),
    "pos_y": tuple(k / 31 for k in range(32)),
}
"""Names and values in grid order, without the official file's first factor, colour, which has only one value."""

DUPLICATES = (
    "Orientations 0 and 39 are the same angle, so 18,432 images are there twice and no model can tell these apart."
)


class DSprites(OfficialDataset):
    """The dataset ``dsprites``; pixels are 0 and 255, where the official file has 0 and 1."""

    card: ClassVar[Card] = Card(
        name="dsprites",
        version=1,
        summary="Squares, ellipses and hearts: 737,280 binary images, the original dSprites of DeepMind.",
        factor_names=tuple(FACTORS),
        factor_sizes=(3, 6, 40, 32, 32),
        image_shape=(1, 64, 64),
        licence="Apache-2.0",
        citation="Matthey, Higgins, Hassabis and Lerchner, dSprites: Disentanglement testing Sprites dataset, 2017, "
        "https://github.com/google-deepmind/dsprites-dataset",
        source="https://github.com/google-deepmind/dsprites-dataset",
        files=(
            OfficialFile(
                f"{_STEM}.hdf5",
                tuple(f"{folder}{_STEM}.hdf5" for folder in _FOLDERS),
                size=28_024_106,
                sha256="729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb",
            ),
        ),
        factor_values=tuple(FACTORS.values()),
        notes=(
            DUPLICATES,
            "The official .npz serves as well; its pickled metadata are never read.",
            "Pixels are 0 and 255 instead of 0 and 1, as all datasets here are bytes that mean 0 to 1.",
        ),
    )
    npz: ClassVar[OfficialFile] = OfficialFile(
        f"{_STEM}.npz", tuple(f"{folder}{_STEM}.npz" for folder in _FOLDERS), md5="7da33b31b13a06f4b04a70402ce90c2e"
    )
    """The other official file with the same images."""

    @classmethod
    def official_files(cls, folder: Path) -> tuple[OfficialFile, ...]:
        """Return the HDF5 file, unless only the ``.npz`` is in ``folder``."""
        hdf5 = cls.card.files[0]
        return (cls.npz,) if (folder / cls.npz.name).exists() and not (folder / hdf5.name).exists() else (hdf5,)

    @classmethod
    def accepted_files(cls) -> tuple[OfficialFile, ...]:
        """Return both files; either one will do."""
        return (*cls.card.files, cls.npz)

    @classmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in grid order; takes under 500 MB of memory."""
        read = _from_npz if paths[0].suffix == ".npz" else _from_hdf5
        for block in read(paths[0], cls.card):
            if block.max(initial=0) > 1:
                raise BenchError(f"{paths[0]} has pixels other than 0 and 1: it is not dSprites.")
            yield (block * np.uint8(255))[..., np.newaxis]


def class_grid(card: Card) -> npt.NDArray[np.int64]:
    """Return the official ``latents/classes`` [n, 6] in grid order: the colour, always 0, comes first."""
    factors = card.grid.factors(np.arange(len(card.grid)))
    return np.concatenate([np.zeros((len(factors), 1), dtype=np.int64), factors], axis=1)


def _check(source: Path, card: Card, shape: tuple[int, ...], classes: npt.NDArray[np.int64]) -> None:
    """Raise ``BenchError`` unless the file has the card's images in grid order."""
    _, h, w = card.image_shape
    if shape != (len(card.grid), h, w):
        raise BenchError(f"{source} has images {shape}; {(len(card.grid), h, w)} is needed.")
    if classes.shape != (len(card.grid), 6):
        raise BenchError(f"{source} has latents {classes.shape}; {(len(card.grid), 6)} is needed.")
    wrong = np.flatnonzero((classes != class_grid(card)).any(axis=1))
    if len(wrong):
        raise BenchError(f"{source}: image {wrong[0]} has the latents {classes[wrong[0]].tolist()}, not the grid's.")


def _from_hdf5(source: Path, card: Card) -> Iterator[npt.NDArray[np.uint8]]:
    import h5py

    with h5py.File(source, "r") as content:
        if "imgs" not in content or "latents/classes" not in content:
            raise BenchError(f"{source} has the keys {sorted(content)}; 'imgs' and 'latents/classes' are needed.")
        images = content["imgs"]
        _check(source, card, images.shape, content["latents/classes"][:].astype(np.int64))
        for begin in range(0, images.shape[0], BLOCK):
            yield images[begin : begin + BLOCK]


def _from_npz(source: Path, card: Card) -> Iterator[npt.NDArray[np.uint8]]:
    with np.load(source, allow_pickle=False) as content:
        if "imgs" not in content or "latents_classes" not in content:
            raise BenchError(f"{source} has the keys {content.files}; 'imgs' and 'latents_classes' are needed.")
        classes = content["latents_classes"].astype(np.int64)
    _, h, w = card.image_shape
    _check(source, card, (len(classes), h, w), classes)  # the images' own shape is checked as they are read
    yield from streamed_array(source, "imgs.npy", BLOCK)
