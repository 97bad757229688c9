"""Datasets from a file of the user's, without touching the package: ``--datasets path/to/data.npz``.

The file is a ``.npz`` or ``.h5`` with the arrays

- ``images``: uint8 [n, h, w, c] or, of one channel, [n, h, w];
- ``factors``: [n, k], numbers of any kind, one row for each image; or ``factor_sizes``: [k], where the images are a
  full grid in C order, the last factor fastest;
- ``factor_names``: k words, optional.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.arrays import ArrayDataset
from disentangle_bench.data.dataset import Card, Report, silent
from disentangle_bench.data.files import CHUNK, locked
from disentangle_bench.data.prepared import DAMAGED, write_array
from disentangle_bench.data.zips import array_header, stored_array, streamed_array
from disentangle_bench.errors import BenchError

BLOCK_BYTES = 64 * 2**20
_KEYS = ("factors", "factor_sizes", "factor_names")


class CustomDataset(ArrayDataset):
    """A dataset from a file; the class made by ``custom_class`` has the card, the path and the table of factors."""

    path: ClassVar[Path]
    table: ClassVar[npt.NDArray[np.int64] | None]
    """Factors [n, k] as 0 .. size - 1; None where the images are a full grid."""

    def __len__(self) -> int:
        return len(self.card.grid) if self.table is None else len(self.table)

    def factors(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Factor values [n, k] of the images at ``index`` [n], in the card's order."""
        if self.table is None:
            return super().factors(index)
        return self.table[np.asarray(index, dtype=np.int64)]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the images where they lie, or, from a compressed file, unpack them to ``folder`` first."""
        return cls.prepare(folder)

    @classmethod
    def prepare(cls, folder: Path, *, download: bool = True, report: Report = silent) -> Self:
        """As ``load``; there is nothing to download."""
        try:
            array = _mapped(cls.path)
            if array is None:
                array = cls._unpacked(Path(folder), report)
            return cls(array)
        except DAMAGED as error:
            raise BenchError(f"{cls.path} cannot be read: {error}") from error

    @classmethod
    def _unpacked(cls, folder: Path, report: Report) -> npt.NDArray[np.uint8]:
        target = folder / f"{cls.path.stem}-{cls.card.version:013x}.npy"
        if not target.exists():
            with locked(target):
                if not target.exists():
                    n = len(cls.card.grid) if cls.table is None else len(cls.table)
                    c, h, w = cls.card.image_shape
                    blocks = (block.reshape(-1, h, w, c) for block in _blocks(cls.path))
                    write_array(target, cls.card, blocks, {"source": str(cls.path)}, report, n)
        array: npt.NDArray[np.uint8] = np.load(target, mmap_mode="r", allow_pickle=False)
        return array


def custom_class(name: str) -> type[CustomDataset]:
    """The dataset class for the file ``name``; its card's version is a hash of the file's content.

    Raises ``BenchError`` if the file is missing or not as this module describes it.
    """
    path = Path(name).expanduser()
    try:
        state = path.stat()
        return _class(name, path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        reason = error.strerror or error
        raise BenchError(
            f"the dataset {name!r} cannot be opened ({reason}); give a name or the path of a file."
        ) from error


@functools.lru_cache(maxsize=32)
def _class(name: str, path: Path, size: int, changed: int) -> type[CustomDataset]:
    """As ``custom_class``; a file with another size or time of change is read again."""
    try:
        shape, kind, extra = _described(path)
        version = _version(path)
    except DAMAGED as error:
        raise BenchError(f"{name} cannot be read: {error}") from error
    if kind != np.uint8 or len(shape) not in (3, 4):
        raise BenchError(f"{name} has images {kind} {shape}; uint8 [n, h, w, c] or [n, h, w] is needed.")
    n, h, w, c = (*shape, 1)[:4]
    sizes, values, table = _factors(name, n, extra)
    names = _names(name, extra.get("factor_names"), len(sizes))
    made = Card(
        name=name,
        version=version,
        summary=f"{n} images from the file {path.name}.",
        factor_names=names,
        factor_sizes=sizes,
        image_shape=(c, h, w),
        licence="the user's own",
        citation=f"the file {path.name}",
        factor_values=values,
    )
    return type("Custom", (CustomDataset,), {"card": made, "path": path, "table": table, "__doc__": made.summary})


def _described(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], dict[str, npt.NDArray[Any]]]:
    """Shape and type of the images of a file, and the other arrays by name."""
    if path.suffix.lower() == ".npz":
        return _described_npz(path)
    import h5py

    with h5py.File(path, "r") as content:
        if "images" not in content:
            raise BenchError(f"{path} has the keys {sorted(content)}; 'images' is needed.")
        images = content["images"]
        return tuple(images.shape), images.dtype, {key: content[key][()] for key in _KEYS if key in content}


def _described_npz(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], dict[str, npt.NDArray[Any]]]:
    with np.load(path, allow_pickle=False) as content:
        if "images" not in content:
            raise BenchError(f"{path} has the keys {content.files}; 'images' is needed.")
        extra = {key: content[key] for key in _KEYS if key in content}
        with content.zip.open("images.npy") as file:
            shape, fortran, kind = array_header(file)
    if fortran:
        raise BenchError(f"{path} has images in Fortran order; save them in C order.")
    return shape, kind, extra


def _factors(
    name: str, n: int, extra: dict[str, npt.NDArray[Any]]
) -> tuple[tuple[int, ...], tuple[tuple[Any, ...], ...], npt.NDArray[np.int64] | None]:
    """Sizes, values and table of the factors; the table is None for a full grid."""
    if "factors" not in extra:
        sizes = tuple(int(size) for size in np.atleast_1d(extra.get("factor_sizes", [])))
        if not sizes or min(sizes) < 1 or int(np.prod(sizes, dtype=np.int64)) != n:
            raise BenchError(
                f"{name} has {n} images and factor_sizes {list(sizes)}; give factors [n, k], or sizes of product n."
            )
        return sizes, (), None
    factors = extra["factors"]
    if factors.ndim != 2 or len(factors) != n or not factors.shape[1] or not np.isreal(factors).all():
        raise BenchError(
            f"{name} has factors {factors.dtype} {factors.shape} for {n} images; numbers [n, k] are needed."
        )
    if not np.isfinite(factors).all():
        raise BenchError(f"{name} has factors that are not finite; every image needs all its factors.")
    ranks = [np.unique(column, return_inverse=True) for column in factors.T]
    table = np.stack([rank for _, rank in ranks], axis=1).astype(np.int64)
    return tuple(len(v) for v, _ in ranks), tuple(tuple(v.tolist()) for v, _ in ranks), table


def _names(name: str, given: npt.NDArray[Any] | None, k: int) -> tuple[str, ...]:
    if given is None:
        return tuple(f"factor_{j}" for j in range(k))
    names = tuple(word.decode() if isinstance(word, bytes) else str(word) for word in np.atleast_1d(given).tolist())
    if len(names) != k or len(set(names)) != k:
        raise BenchError(f"{name} has the factor_names {list(names)}; {k} different ones are needed.")
    return names


def _version(path: Path) -> int:
    """52 bits of a hash of the content: other pixels or factors are another version. A zip's CRC-32 stand for it."""
    state = hashlib.sha256()
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as content:
            for info in sorted(content.zip.infolist(), key=lambda info: info.filename):
                state.update(f"{info.filename} {info.file_size} {info.CRC}\n".encode())
    else:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                state.update(chunk)
    return int(state.hexdigest()[:13], 16)


def _mapped(path: Path) -> npt.NDArray[np.uint8] | None:
    """The images mapped where they lie in the file; None where that cannot be done."""
    if path.suffix.lower() == ".npz":
        found = stored_array(path, "images.npy")
        return None if found is None else found.array
    import h5py

    with h5py.File(path, "r") as content:
        images = content["images"]
        offset, shape = images.id.get_offset(), images.shape  # None where it is in chunks
    if offset is None or os.path.getsize(path) < offset + int(np.prod(shape)):
        return None
    return np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape)


def _blocks(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The images of a compressed file, some at a time."""
    if path.suffix.lower() == ".npz":
        shape, _, _ = _described_npz(path)
        yield from streamed_array(path, "images.npy", max(1, BLOCK_BYTES // max(1, int(np.prod(shape[1:])))))
        return
    import h5py

    with h5py.File(path, "r") as content:
        images = content["images"]
        # Whole chunks, so that none is unpacked twice.
        rows = max(1, BLOCK_BYTES // max(1, int(np.prod(images.shape[1:]))))
        chunk = images.chunks[0] if images.chunks else 1
        rows = max(chunk, rows // chunk * chunk)
        for begin in range(0, images.shape[0], rows):
            yield images[begin : begin + rows]
