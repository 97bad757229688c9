"""Read arrays of an ``.npz`` from any source, checking each header before unpacking anything and opening no pickle."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.files import other_content
from disentangle_bench.errors import BenchError, listed, one_line

_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError)
"""Errors of numpy and zipfile; RuntimeError means an encrypted member or an unknown compression method."""


def read_archive(path: Path, needed: set[str], allowed: set[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an ``.npz`` by name: those in ``needed``, and any that are in ``allowed``.

    Raises ``BenchError``, one line with the file, the array and a remedy, for a file that is missing, damaged or not an
    ``.npz``, for missing or unknown arrays, for object arrays and structured arrays (which are not read), and for
    arrays larger than half of the memory (before anything is allocated).
    """
    check_start(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_names(path, names, needed, needed | allowed)
            sizes = [_declared(path, archive, info) for info in names.values()]
            if sum(sizes) > _memory() // 2:
                raise BenchError(f"{path} unpacks to {sum(sizes):,} bytes, over half of the memory: keep fewer rows")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except BenchError:
        raise
    except (*_UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise BenchError(
            f"{path} cannot be read as an .npz of plain arrays ({reason}): save it with numpy.savez, no object arrays"
        ) from error


def check_start(path: Path) -> None:
    """Raise ``BenchError`` if there is no file at this path, or a web page or a pointer in place of the file."""
    if not path.is_file():
        raise BenchError(f"there is no file {str(path)!r}: give a file with codes and factors, or a results folder")
    with path.open("rb") as file:
        fault = other_content(file.read(512))
    if fault:
        raise BenchError(f"{path} {fault}")


def _check_names(path: Path, names: Any, needed: set[str], known: set[str]) -> None:
    if needed - set(names) or set(names) - known:
        held = one_line(listed(names)) if names else "nothing"
        raise BenchError(
            f"{path} holds {held}; needed are codes [n, d] and factors [n, k], allowed besides are "
            f"{', '.join(sorted(known - needed))}"
        )


def _declared(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Return the size in bytes of a member's array according to its header, which must agree with the member's size."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member, max_header_size=10_000)
        offset = member.tell()
    name = one_line(info.filename.removesuffix(".npy"))
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    if dtype.names is not None:
        raise BenchError(f"{path}: {name} is a structured array; save its fields as arrays of their own")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else dtype.itemsize
    if offset + size != info.file_size:
        raise ValueError(f"{name} promises {size:,} bytes and has {info.file_size - offset:,}")
    return size


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34
