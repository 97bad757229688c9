"""The contract of datasets: a card, a grid of factors, and images as bytes by index. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Index: TypeAlias = npt.NDArray[np.int64]
"""Positions of images in a dataset, [b]."""

Report: TypeAlias = "Callable[[str, int, int | None], None]"
"""Progress callback: gets the step's name, the bytes done, and the total number of bytes (None: unknown)."""


def silent(what: str, done: int, total: int | None) -> None:
    """Ignore progress: the default ``Report``."""


@dataclass(frozen=True)
class Batches:
    """A placed dataset. Call it with positions [b] to get uint8 images [b, c, h, w] on its device, channels last.

    ``batch`` takes positions as a numpy array and checks them. ``gather`` takes them as an int64 tensor that is already
    on the device; it does not check them, work on the host or wait for the device, so that a CUDA graph can hold it.
    It is None if the images are not resident on the device. Both return the same bytes.
    """

    batch: Callable[[Index], torch.Tensor]
    gather: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __call__(self, index: Index) -> torch.Tensor:
        """Return the images at positions ``index`` [b]; raise ``IndexError`` for a position outside the dataset."""
        return self.batch(index)

    @property
    def resident(self) -> bool:
        """Return whether the images, or all that they are made from, are on the device, so that ``gather`` works."""
        return self.gather is not None


@dataclass(frozen=True)
class OfficialFile:
    """A file as its authors publish it.

    ``urls`` are mirrors, tried in order. ``size`` is in bytes, None if unknown. ``sha256`` and ``md5`` are hexadecimal,
    empty if unknown; with ``advisory`` they are those of an earlier upload, so that a different checksum is logged, not
    rejected.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str = ""
    md5: str = ""
    advisory: bool = False


@dataclass(frozen=True)
class Card:
    """Facts about a dataset for its users. A change of pixels, order or factors bumps ``version``.

    ``name`` is what commands take, ``summary`` one line of text; ``licence`` and ``citation`` are the authors'.
    ``factor_names`` and ``factor_sizes`` are in grid order, slowest first, and ``factor_values`` says what the
    positions along each factor stand for (empty: just 0, 1, ...); ``image_shape`` is (c, h, w). ``files`` are the
    official files (empty: nothing needs to be downloaded), ``source`` is the page that describes them. ``resized``
    names the filter and the original size of resized images; ``notes`` are pitfalls. ``images`` is the number of images
    if they are not a full grid.
    """

    name: str
    version: int
    summary: str
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    licence: str
    citation: str
    source: str = ""
    files: tuple[OfficialFile, ...] = ()
    factor_values: tuple[tuple[Any, ...], ...] = ()
    resized: str = ""
    notes: tuple[str, ...] = ()
    images: int | None = None

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.grid) if self.images is None else self.images

    @property
    def grid(self) -> FactorGrid:
        """Factor grid of the dataset."""
        return FactorGrid(self.factor_sizes)


@dataclass(frozen=True)
class FactorGrid:
    """A full grid of factors in C order: position 0 has all factors 0, and the last factor varies fastest."""

    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return int(np.prod(self.sizes, dtype=np.int64))

    def factors(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return factor values [n, k] at positions [n]."""
        return np.stack(np.unravel_index(np.asarray(index, dtype=np.int64), self.sizes), axis=-1).astype(np.int64)

    def index(self, factors: npt.ArrayLike) -> Index:
        """Return positions [n] of factor values [n, k]."""
        columns = tuple(np.moveaxis(np.asarray(factors, dtype=np.int64), -1, 0))
        return np.asarray(np.ravel_multi_index(columns, self.sizes), dtype=np.int64)


class Dataset(ABC):
    """Images in the order of the card's factor grid.

    A subclass has a ``card``, is made by ``load``, and provides images in two ways: ``images`` returns numpy bytes for
    people and metrics, ``place`` returns batches on the device for training. Both provide the same bytes. A dataset
    that is not a full grid has the number of its images in the card, and overrides ``factors``.
    """

    card: ClassVar[Card]

    def __len__(self) -> int:
        return self.card.n

    def factors(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return factor values [n, k] of the images at ``index`` [n], in the card's order."""
        return self.card.grid.factors(index)

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Return the dataset from the data folder ``folder``, prepared there first if that needs no download.

        Raises ``BenchError`` if a file is missing, saying where to get it.
        """

    @classmethod
    def prepare(cls, folder: Path, *, download: bool = True, report: Report = silent) -> Self:
        """Return the dataset from ``folder``; missing files are downloaded if ``download`` allows it.

        ``report`` is called with a step's name, the bytes done, and the total number of bytes (None: unknown). Raises
        ``BenchError`` for files that are missing, damaged or cannot be downloaded.
        """
        return cls.load(folder)

    @abstractmethod
    def images(self, index: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return the images at the positions ``index`` [n], uint8 [n, h, w, c]."""

    def place(self, device: torch.device) -> Batches:
        """Return batches on ``device``; by default each is read by ``images`` and copied there."""
        import torch

        return Batches(lambda index: torch.from_numpy(self.images(index)).to(device).permute(0, 3, 1, 2))
