"""Prepared arrays: one flat ``.npy`` of bytes and a ``.json`` beside it that says where it came from."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path, write_text
from disentangle_bench.data.dataset import Card, Report, silent
from disentangle_bench.data.files import CHUNK, json_object, megabytes
from disentangle_bench.data.zips import stored_array
from disentangle_bench.errors import BenchError

Bytes = npt.NDArray[np.uint8]

DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error),
)
"""Errors that h5py, zipfile, tarfile, gzip, scipy and Pillow raise for damaged files."""


def read_record(target: Path) -> dict[str, Any]:
    """Return the record of the array ``target``; empty if there is none."""
    return json_object(target.with_suffix(".json"))


def open_array(target: Path) -> Bytes:
    """Map the array ``target``; raise ``BenchError`` unless its record describes its content.

    A sample of images is compared, or all images if the record has no sample.
    """
    record = read_record(target)
    try:
        array: Bytes = np.load(target, mmap_mode="r", allow_pickle=False)
        checks_out = is_recorded(array, record, target.name)
    except (OSError, EOFError, ValueError) as error:
        raise BenchError(f"{target} is damaged ({error}); delete it and it is prepared again.") from error
    if not checks_out:
        raise BenchError(f"{target} is not what {target.stem}.json describes; delete it and it is prepared again.")
    return array


def is_recorded(array: Bytes, record: dict[str, Any], name: str) -> bool:
    """Return whether the content of ``array`` is what its record describes."""
    if "sample" in record:
        return bool(record["sample"] == sample_digest(array))
    return bool(record.get("sha256") == array_digest(array, name))


def sample_digest(array: Bytes) -> str:
    """Return the SHA-256 of 64 images spread evenly over an array."""
    index = np.unique(np.linspace(0, len(array) - 1, 64).astype(np.int64))
    return hashlib.sha256(np.ascontiguousarray(array[index]).data).hexdigest()


def write_record(target: Path, record: dict[str, Any]) -> None:
    """Write the record of the array ``target``."""
    write_text(target.with_suffix(".json"), json.dumps(record, indent=1) + "\n")


def array_digest(array: Bytes, name: str, report: Report = silent) -> str:
    """Return the SHA-256 of an array's bytes, whichever file holds them."""
    state, rows = hashlib.sha256(), max(1, CHUNK // max(1, array[:1].nbytes))
    for begin in range(0, len(array), rows):
        state.update(np.ascontiguousarray(array[begin : begin + rows]).data)
        report(f"checking {name}", min(begin + rows, len(array)) * array[:1].nbytes, array.nbytes)
    return state.hexdigest()


def _checked(card: Card, blocks: Iterator[Bytes]) -> Iterator[Bytes]:
    """Yield ``blocks`` unchanged; raise ``BenchError`` unless they have the card's number and shape of images."""
    c, h, w = card.image_shape
    done = 0
    for block in blocks:
        if block.dtype != np.uint8 or block.shape[1:] != (h, w, c):
            raise BenchError(f"{card.name} has images uint8 {(h, w, c)}, not {block.dtype} {block.shape[1:]}.")
        done += len(block)
        yield block
    if done != card.n:
        raise BenchError(f"{card.name} has {card.n} images, and the file {done}.")


def write_array(target: Path, card: Card, blocks: Iterator[Bytes], record: dict[str, Any], report: Report) -> None:
    """Write ``blocks`` to ``target`` as .npy, and its record; the array appears only when both are complete.

    The caller must hold the lock of ``target``.
    """
    c, h, w = card.image_shape
    total, done = card.n * h * w * c, 0
    if (free := shutil.disk_usage(target.parent).free) < total:
        raise BenchError(
            f"{card.name} takes {megabytes(total)} and {target.parent} has {megabytes(free)} left; "
            "make room or give another data folder."
        )
    for stale in target.parent.glob(f".{target.stem}-*.tmp*"):
        stale.unlink()  # left by a killed process, since nobody else writes while we hold the lock
    state = hashlib.sha256()
    # A plain file, not a memory map, since written pages of a map count as this process's memory.
    with atomic_path(target) as temporary:
        with temporary.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (card.n, h, w, c)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in _checked(card, blocks):
                pixels = np.ascontiguousarray(block).data
                file.write(pixels)
                state.update(pixels)
                done += block.nbytes
                report(f"preparing {card.name}", done, total)
        # The record comes first, so that an existing array always has one.
        sample = sample_digest(np.load(temporary, mmap_mode="r", allow_pickle=False))
        content = {"array": target.name, "bytes": total, "sha256": state.hexdigest(), "sample": sample}
        write_record(target, record | content)


def check_in_place(
    target: Path,
    path: Path,
    member: str,
    card: Card,
    blocks: Iterator[Bytes],
    record: dict[str, Any],
    report: Report,
) -> None:
    """Check the images in their own file, and write the record that allows them to be mapped."""
    stored = stored_array(path, member)
    assert stored is not None
    state, done, total = hashlib.sha256(), 0, stored.array.nbytes
    for block in _checked(card, blocks):
        state.update(np.ascontiguousarray(block).data)
        done += block.nbytes
        report(f"checking {path.name}", done, total)
    content = {"member": member, "crc": stored.crc, "bytes": total, "sha256": state.hexdigest()}
    write_record(target, record | content | {"sample": sample_digest(stored.array)})
