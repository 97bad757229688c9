"""Datasets that come as official files and are prepared once: checked, and turned into one flat array of bytes.

For a dataset called NAME in version V, a data folder holds its official files under their own names, the array
``NAME-vV.npy`` (uint8 [n, h, w, c], mapped into memory from then on) and ``NAME-vV.json``, which says where the array
came from and what its checksum is. If the official file already holds these very bytes, it is mapped in place and only
the ``.json`` is written.
"""

from __future__ import annotations

import logging
import os
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.arrays import ArrayDataset
from disentangle_bench.data.dataset import Card, OfficialFile, Report, silent
from disentangle_bench.data.download import fetch
from disentangle_bench.data.files import digest, locked, megabytes, problem
from disentangle_bench.data.prepared import (
    DAMAGED,
    array_digest,
    check_in_place,
    is_recorded,
    open_array,
    read_record,
    write_array,
)
from disentangle_bench.data.zips import stored_array
from disentangle_bench.errors import BenchError

_log = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]


class OfficialDataset(ArrayDataset):
    """A dataset with official files. A subclass adds the card and ``blocks``, and may add ``in_place``."""

    @classmethod
    @abstractmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[Bytes]:
        """Yield the images from the official files ``paths`` in grid order, some at a time: uint8 [b, h, w, c].

        Raises ``BenchError`` if a file does not have the official content.
        """

    @classmethod
    def in_place(cls, paths: Sequence[Path]) -> str | None:
        """Return the member of the first file, a zip, that is the uncompressed array itself; None if there is none."""
        return None

    @classmethod
    def official_files(cls, folder: Path) -> tuple[OfficialFile, ...]:
        """Return the files that ``folder`` needs: the card's, unless there is a choice."""
        return cls.card.files

    @classmethod
    def accepted_files(cls) -> tuple[OfficialFile, ...]:
        """Return all official files that can be used."""
        return cls.card.files

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the prepared array from ``folder``; if there is none, prepare it from the official files in that folder.

        Raises ``BenchError`` if neither is there, or if an official file has other content.
        """
        return cls.prepare(folder, download=False)

    @classmethod
    def prepare(cls, folder: Path, *, download: bool = True, report: Report = silent) -> Self:
        """Open the dataset; download missing official files first, if ``download`` and the environment allow it."""
        folder = Path(folder)
        if (array := cls.prepared(folder)) is None:
            if download:
                for file in cls.official_files(folder):
                    fetch(file, folder, cls.card.name, report)
            cls._build(folder, report)
            array = cls.prepared(folder)
            assert array is not None
        return cls(array)

    @classmethod
    def array_path(cls, folder: Path) -> Path:
        """Return the path of the prepared array; unused if the official file is mapped in place."""
        return folder / f"{cls.card.name}-v{cls.card.version}.npy"

    @classmethod
    def paths(cls, folder: Path) -> list[Path]:
        """Return the paths of the official files, present or not."""
        return [folder / file.name for file in cls.official_files(folder)]

    @classmethod
    def prepared(cls, folder: Path) -> Bytes | None:
        """Return the prepared array, mapped; None if there is none. Raises ``BenchError`` if it is damaged."""
        target = cls.array_path(folder)
        record = read_record(target)
        if not target.exists():
            member = record.get("member")
            if member is None or not (first := cls.paths(folder)[0]).exists():
                return None
            stored = stored_array(first, member)
            # The file may have been replaced since it was checked.
            if stored is None or stored.crc != record.get("crc") or not is_recorded(stored.array, record, first.name):
                return None
            return stored.array
        array = open_array(target)
        try:
            cls(array)
        except BenchError as error:
            raise BenchError(f"{target} is damaged ({error}); delete it and it is prepared again.") from error
        return array

    @classmethod
    def missing(cls, folder: Path) -> list[OfficialFile]:
        """Return the official files that are not in ``folder``."""
        return [
            file for file, path in zip(cls.official_files(folder), cls.paths(folder), strict=True) if not path.exists()
        ]

    @classmethod
    def traces(cls, folder: Path) -> list[Path]:
        """Return the paths of all files of this dataset in ``folder``, including interrupted downloads."""
        target = cls.array_path(folder)
        paths = [target, target.with_suffix(".json"), target.with_name(f"{target.name}.lock")]
        for file in cls.accepted_files():
            paths += [folder / f"{file.name}{ending}" for ending in ("", ".part", ".part.json", ".lock")]
        paths += folder.glob(f".{target.stem}-*.tmp*")
        return [path for path in paths if path.exists() or path.is_symlink()]

    @classmethod
    def _build(cls, folder: Path, report: Report) -> None:
        """Make the array and its record from the official files."""
        if absent := cls.missing(folder):
            raise missing_file(cls.card, absent[0], folder)
        target, paths = cls.array_path(folder), cls.paths(folder)
        with locked(target):
            if cls.prepared(folder) is not None:  # another process was first
                return
            _log.info("preparing %s from %s", target, ", ".join(map(str, paths)))
            try:
                for file, path in zip(cls.official_files(folder), paths, strict=True):
                    if fault := problem(path, file, report):
                        raise BenchError(f"{path} is not the official file: it {fault}; delete it and fetch it again.")
                record = {"dataset": cls.card.name, "version": cls.card.version, "resized": cls.card.resized}
                record["sources"] = {path.name: path.stat().st_size for path in paths}
                member = cls.in_place(paths)
                if member is None:
                    write_array(target, cls.card, cls.blocks(paths), record, report)
                else:
                    check_in_place(target, paths[0], member, cls.card, cls.blocks(paths), record, report)
            except DAMAGED as error:
                raise BenchError(
                    f"cannot prepare {target} from {paths[0]}: {error}; if that file is damaged, delete it."
                ) from error
            _log.info("prepared %s", cls.card.name)

    @classmethod
    def verify(cls, folder: Path, report: Report = silent) -> list[str]:
        """Read everything of this dataset in ``folder``, compare checksums, and return one line for each file.

        Raises ``BenchError`` if a file has other content, or if nothing is there.
        """
        lines = []
        for file, path in zip(cls.official_files(folder), cls.paths(folder), strict=True):
            if path.exists():
                if fault := problem(path, file, report):
                    raise BenchError(f"{path} {fault}; delete it and fetch it again.")
                known = "is the official file" if file.sha256 or file.md5 else "has no published checksum"
                lines.append(f"{path.name} {'has an advisory checksum' if file.advisory else known}")
        array = cls.prepared(folder)
        if array is not None:
            target = cls.array_path(folder)
            record = read_record(target)
            checksum = array_digest(array, target.name, report)
            if checksum != record.get("sha256"):
                raise BenchError(
                    f"the array of {cls.card.name} in {folder} has the SHA-256 {checksum}, not the "
                    f"{record.get('sha256')} it was prepared with; delete {target.name} and it is prepared again."
                )
            lines.append(f"the array of {cls.card.name} is as it was prepared, SHA-256 {checksum}")
        if not lines:
            raise missing_file(cls.card, cls.card.files[0], folder)
        return lines


def missing_file(card: Card, file: OfficialFile, folder: Path) -> BenchError:
    """Return the error to raise for an official file that is not there."""
    where = file.urls[0] if file.urls else card.source
    size = f" ({megabytes(file.size)})" if file.size else ""
    alike = " rooms3d has the same factors and needs no download." if card.name == "shapes3d" else ""
    alike = " dsprites_rendered is drawn like it and needs no download." if card.name == "dsprites" else alike
    return BenchError(
        f"{card.name} needs the file {file.name}, which is not in {folder}: run `dbench data download {card.name}`, "
        f"or download {where}{size} and put it there.{alike or ' rooms3d and dsprites_rendered need no download.'}"
    )


def adopt(card: Card, files: tuple[OfficialFile, ...], source: Path, folder: Path, report: Report = silent) -> Path:
    """Add the user's file ``source`` to ``folder`` as the official one, linked if the system allows it, else copied.

    Return its path there. Its name or its checksum decides which of ``files`` it is. Raises ``BenchError`` if it is
    none of them.
    """
    source = source.expanduser().absolute()
    if not source.is_file():
        raise BenchError(f"{source} is not a file; give one of {', '.join(file.name for file in files)}.")
    named = [file for file in files if file.name == source.name]
    file = named[0] if named else files[0] if len(files) == 1 else _by_checksum(card, files, source, report)
    if fault := problem(source, file, report):
        raise BenchError(f"{source} is not {file.name} of {card.name}: it {fault}.")
    target = folder / file.name
    with locked(target):
        if target.exists() and target.samefile(source):
            return target
        temporary = target.with_name(f".{target.name}.{os.getpid()}.link")
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(source)
        except OSError:  # Windows without permission for symbolic links, or a file system without them
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
        temporary.replace(target)
    return target


def _by_checksum(card: Card, files: tuple[OfficialFile, ...], source: Path, report: Report) -> OfficialFile:
    checksums = {digest(source, "sha256", report), digest(source, "md5", report)}
    for file in files:
        if checksums & {file.sha256, file.md5}:
            return file
    names = ", ".join(file.name for file in files)
    raise BenchError(f"{source} is none of the files of {card.name}; they are {names}.")
