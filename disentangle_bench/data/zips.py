"""Read arrays in zip files (such as ``.npz``): mapped in place, or read from start to end in little memory."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.errors import BenchError

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True)
class StoredArray:
    """An array mapped inside a zip file, and the CRC-32 that the zip file states for it."""

    array: npt.NDArray[np.uint8]
    crc: int


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, Fortran order (or not) and type of the .npy at whose start ``file`` is positioned."""
    major, _ = np.lib.format.read_magic(file)
    if major == 1:
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def stored_array(path: Path, member: str) -> StoredArray | None:
    """Return the array ``member`` (with its ``.npy``) of a zip, mapped read-only; None unless it is uncompressed bytes.

    Raises ``ValueError`` or ``OSError`` if the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(member)
    except KeyError:
        return None
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip file, or cut short ({error})") from error
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return None
    with path.open("rb") as file:
        file.seek(info.header_offset)
        fields = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        # The lengths of the name and the extra field are repeated here and may differ from those in the directory.
        file.seek(fields[9] + fields[10], 1)
        shape, fortran, kind = array_header(file)
        offset = file.tell()
    size = int(np.prod(shape, dtype=np.int64))
    if fortran or kind != np.uint8 or not size or offset + size > path.stat().st_size:
        return None
    return StoredArray(np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape), info.CRC)


def streamed_array(path: Path, member: str, rows: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the array ``member`` (with its ``.npy``) of a zip, ``rows`` of its first axis at a time.

    Reading to the end checks its CRC-32. Raises ``BenchError`` if it is not there or not of bytes in C order, and
    ``ValueError`` if it ends too early.
    """
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            raise BenchError(f"{path} has the keys {keys}; {member.removesuffix('.npy')!r} is needed.")
        with archive.open(member) as file:
            shape, fortran, kind = array_header(file)
            if fortran or kind != np.uint8:
                raise BenchError(f"{path} has {member} as {kind} {shape}; uint8 in C order is needed.")
            row = int(np.prod(shape[1:], dtype=np.int64))
            for begin in range(0, shape[0], rows):
                n = min(rows, shape[0] - begin)
                content = file.read(n * row)
                if len(content) != n * row:
                    raise ValueError(f"{member} in {path} ends after {begin + len(content) // max(row, 1)} images")
                yield np.frombuffer(content, dtype=np.uint8).reshape(n, *shape[1:])
