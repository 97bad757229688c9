"""Read image files of users: ``.npz``, HDF5, or a ``.csv`` beside pictures. Nothing in them is trusted or unpickled.

Each source reports what it holds before anything large is read, and raises ``BenchError`` if a file promises more than
it has.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.files import megabytes, other_content
from disentangle_bench.data.zips import array_header, stored_array, streamed_array
from disentangle_bench.errors import BenchError, listed

KEYS = ("factors", "factor_sizes", "factor_names")
SUFFIXES = (".npz", ".h5", ".hdf5", ".csv")
BLOCK_BYTES = 64 * 2**20
TABLE_BYTES = 2**30
"""Size limit of everything in a file except its images."""
RATIO = 1_100
"""Largest number of bytes that one compressed byte can stand for; deflate reaches 1,032."""

Array = npt.NDArray[Any]


class Source(ABC):
    """An open file: the ``shape`` and ``dtype`` of its images, and the small ``arrays`` beside them by name."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    arrays: dict[str, Array]

    @abstractmethod
    def content(self) -> bytes:
        """Return a hash of everything in the file."""

    def mapped(self) -> npt.NDArray[np.uint8] | None:
        """Return the images mapped in their file; None if that is not possible."""
        return None

    @abstractmethod
    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images, some at a time; pictures, which may have different sizes, come one by one."""

    def rows(self) -> int:
        """Return the number of images in a block."""
        return max(1, BLOCK_BYTES // max(1, math.prod(self.shape[1:])))


def open_source(path: Path) -> Source:
    """Open the file ``path`` according to its suffix; raise ``BenchError``, or what libraries raise for bad files."""
    with path.open("rb") as file:
        fault = other_content(file.read(512))
    if fault:
        raise BenchError(f"{path} {fault}")
    suffix = path.suffix.lower()
    return Npz(path) if suffix == ".npz" else Pictures(path) if suffix == ".csv" else Hdf5(path)


def _check_table(path: Path, key: str, dtype: np.dtype[Any], size: int) -> None:
    if dtype.kind not in "biufSU":
        raise BenchError(f"{path}: {key} has the type {dtype}; save plain numbers (or words for factor_names)")
    if size > TABLE_BYTES:
        raise BenchError(f"{path}: {key} takes {megabytes(size)}, more than {megabytes(TABLE_BYTES)}; save it smaller")


class Npz(Source):
    """A file of ``numpy.savez`` or ``numpy.savez_compressed``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if "images" not in self._members:
                raise BenchError(f"{path} has the keys {listed(self._members)}; 'images' is needed")
            self.arrays = {key: self._table(archive, key) for key in KEYS if key in self._members}
            with archive.open(self._checked("images")) as file:
                self.shape, self.dtype, _ = self._header(file, "images")

    def _checked(self, key: str) -> zipfile.ZipInfo:
        info = self._members[key]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BenchError(f"{self.path}: {key} is compressed in an unknown way; save it with numpy.savez_compressed")
        if info.compress_size > self.path.stat().st_size or info.file_size > RATIO * (info.compress_size + 1):
            raise BenchError(f"{self.path}: {key} promises {megabytes(info.file_size)} that the file does not hold")
        return info

    def _header(self, file: Any, key: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        """Return the shape, type and size in bytes of the array at whose start ``file`` is positioned."""
        shape, fortran, dtype = array_header(file)
        size = math.prod(shape) * dtype.itemsize
        if size > self._members[key].file_size or min(shape, default=0) < 0:
            raise BenchError(
                f"{self.path}: {key} promises {megabytes(size)} that the file does not hold; save it again"
            )
        if fortran and len(shape) > 1:
            raise BenchError(f"{self.path} has {key} in Fortran order; save numpy.ascontiguousarray({key})")
        return shape, dtype, size

    def _table(self, archive: zipfile.ZipFile, key: str) -> Array:
        with archive.open(self._checked(key)) as file:
            shape, dtype, size = self._header(file, key)
            _check_table(self.path, key, dtype, size)
            return np.frombuffer(file.read(size), dtype=dtype).reshape(shape)

    def content(self) -> bytes:
        """Return a hash of the names, sizes and CRC-32 of all members."""
        state = hashlib.sha256()
        for info in sorted(self._members.values(), key=lambda info: info.filename):
            state.update(f"{info.filename} {info.file_size} {info.CRC}\n".encode())
        return state.digest()

    def mapped(self) -> npt.NDArray[np.uint8] | None:
        """Return the images mapped in the file if they are not compressed, else None."""
        stored = stored_array(self.path, "images.npy")
        return None if stored is None else stored.array

    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images; reading to the end checks their CRC-32."""
        yield from streamed_array(self.path, "images.npy", self.rows())


class Hdf5(Source):
    """An HDF5 file. Links and storage outside the file are rejected: they could read any file on this machine."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        self.arrays = {}
        with h5py.File(path, "r") as content:
            images = self._dataset(content, "images")
            if images is None:
                raise BenchError(f"{path} has the keys {listed(content)}; 'images' is needed")
            self.shape, self.dtype = images.shape, images.dtype
            size = math.prod(self.shape) * self.dtype.itemsize
            if size > RATIO * (images.id.get_storage_size() + 1):
                raise BenchError(f"{path}: images promises {megabytes(size)} that the file does not hold")
            for key in KEYS:
                table = self._dataset(content, key)
                if table is None:
                    continue
                if h5py.check_string_dtype(table.dtype):
                    _check_table(path, key, np.dtype("S1"), table.size)
                    self.arrays[key] = np.asarray(table.asstr()[()], dtype=str)
                else:
                    _check_table(path, key, table.dtype, table.size * table.dtype.itemsize)
                    self.arrays[key] = table[()]

    def _dataset(self, content: Any, key: str) -> Any:
        import h5py

        link = content.get(key, getlink=True)
        if link is None:
            return None
        item = content[key] if isinstance(link, h5py.HardLink) else None
        if not isinstance(item, h5py.Dataset):
            raise BenchError(f"{self.path}: {key} is a group or a link; a dataset in the file itself is needed")
        if item.external or item.is_virtual:
            raise BenchError(f"{self.path}: {key} lies in other files; write it into this one")
        return item

    def content(self) -> bytes:
        """Return the SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    def mapped(self) -> npt.NDArray[np.uint8] | None:
        """Return the images mapped in the file if they are neither chunked nor compressed, else None."""
        import h5py

        with h5py.File(self.path, "r") as content:
            offset = content["images"].id.get_offset()
        if offset is None or os.path.getsize(self.path) < offset + math.prod(self.shape):
            return None
        return np.memmap(self.path, dtype=np.uint8, mode="r", offset=offset, shape=self.shape)

    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in whole chunks, so that none is unpacked twice."""
        import h5py

        with h5py.File(self.path, "r") as content:
            images = content["images"]
            chunk = images.chunks[0] if images.chunks else 1
            rows = max(chunk, self.rows() // chunk * chunk)
            for begin in range(0, images.shape[0], rows):
                yield images[begin : begin + rows]


class Pictures(Source):
    """A ``.csv`` with a header: the first column names pictures beside it, the others are factors, numbers or words."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        if size > TABLE_BYTES:
            raise BenchError(f"{path} has {megabytes(size)}, more than {megabytes(TABLE_BYTES)}; is it a table?")
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *table = [row for row in csv.reader(file) if row] or [[]]
        uneven = next((k for k, row in enumerate(table) if len(row) != len(header)), None)
        if uneven is not None or not table:
            fault = "has no rows" if not table else f"has {len(table[uneven or 0])} cells in row {(uneven or 0) + 2}"
            raise BenchError(f"{path} {fault}; a header of {len(header)} names and a row for each picture are needed")
        self._files = [self._inside(row[0]) for row in table]
        self.arrays = {"factor_names": np.array(header[1:], dtype=str)}
        self.columns = [_column([row[k] for row in table]) for k in range(1, len(header))]
        first = self._picture(self._files[0])
        self.shape, self.dtype = (len(table), *first.shape), first.dtype

    def _inside(self, name: str) -> Path:
        path = self.path.parent / name
        if not path.resolve().is_relative_to(self.path.parent.resolve()):
            raise BenchError(f"{self.path} names {name!r}, which lies outside its folder; move the pictures beside it")
        return path

    def _picture(self, path: Path) -> npt.NDArray[np.uint8]:
        from PIL import Image

        try:
            with Image.open(path) as image:
                mode, deep = image.mode, image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
                grey = mode in ("1", "L", "LA") or deep
                # Pillow would clip 16-bit grey at 255; of 16-bit colours it keeps the high byte.
                pixels: Array = np.asarray(image) >> 8 if deep else np.asarray(image.convert("L" if grey else "RGB"))
        except Exception as error:  # Pillow raises almost anything for damaged pictures
            raise BenchError(f"{self.path}: the picture {path} cannot be read ({error})") from error
        if mode in ("I", "F") and not deep:
            raise BenchError(f"{self.path}: the picture {path} has 32 bits per pixel; save it with 8 or 16")
        small: npt.NDArray[np.uint8] = pixels.astype(np.uint8)
        return small[..., np.newaxis] if grey else small

    def content(self) -> bytes:
        """Return a hash of the table and of all pictures."""
        state = hashlib.sha256(self.path.read_bytes())
        for path in self._files:
            try:
                state.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError as error:
                raise BenchError(f"{self.path}: the picture {path} cannot be read ({error.strerror})") from error
        return state.digest()

    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the pictures one by one."""
        for path in self._files:
            yield self._picture(path)[np.newaxis]


def _column(cells: Sequence[str]) -> Array:
    """Return a column of a table as numbers if all its cells are numbers, else as words."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells, dtype=str)


def resized_block(block: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return images [b, h, w, c] or [b, h, w] resized to [b, side, side, c] by Pillow's bicubic filter."""
    from disentangle_bench.data.resizing import resized

    block = block[..., np.newaxis] if block.ndim == 3 else block
    shape = (block.shape[-1], side, side)
    return np.stack([resized(image[..., 0] if shape[0] == 1 else image, shape, "bicubic") for image in block])
