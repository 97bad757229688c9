"""Datasets that come as official files and are prepared once: checked, and turned into one flat array of bytes.

A data folder holds, for a dataset called NAME in version V, its official files under their own names, the array
``NAME-vV.npy`` (uint8 [n, h, w, c], mapped into memory from then on) and ``NAME-vV.json`` which says where the array
came from and what its checksum is. Where the official file holds the very bytes already, it is mapped in place and
only the ``.json`` is written.
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
from disentangle_bench.data.prepared import DAMAGED, array_digest, check_in_place, read_record, write_array
from disentangle_bench.data.zips import stored_array
from disentangle_bench.errors import BenchError

_log = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]


class OfficialDataset(ArrayDataset):
    """A dataset with official files. A subclass adds the card and ``blocks``, and may add ``in_place``."""

    @classmethod
    @abstractmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[Bytes]:
        """The images in grid order, some at a time: uint8 [b, h, w, c]; ``paths`` are the official files, in order.

        Checks what there is to check, and raises ``BenchError`` if the files are not what they should be.
        """

    @classmethod
    def in_place(cls, paths: Sequence[Path]) -> str | None:
        """The member of the first file, a zip, that is the array itself, stored as it is; None if there is none."""
        return None

    @classmethod
    def official_files(cls, folder: Path) -> tuple[OfficialFile, ...]:
        """The files that are needed in ``folder``: the card's, unless there is a choice."""
        return cls.card.files

    @classmethod
    def accepted_files(cls) -> tuple[OfficialFile, ...]:
        """All files that are of use."""
        return cls.card.files

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the prepared array from ``folder``; where there is none, prepare it from the official files beside it.

        Raises ``BenchError`` if neither is there, or an official file is not what it should be.
        """
        return cls.prepare(folder, download=False)

    @classmethod
    def prepare(cls, folder: Path, *, download: bool = True, report: Report = silent) -> Self:
        """As ``load``, but missing official files are downloaded first, if ``download`` and the environment allow."""
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
        """Where the prepared array lies, unless the official file is mapped in place."""
        return folder / f"{cls.card.name}-v{cls.card.version}.npy"

    @classmethod
    def paths(cls, folder: Path) -> list[Path]:
        """Where the official files lie, or should."""
        return [folder / file.name for file in cls.official_files(folder)]

    @classmethod
    def prepared(cls, folder: Path) -> Bytes | None:
        """The prepared array, mapped; None if there is none. Raises ``BenchError`` if it is damaged."""
        target = cls.array_path(folder)
        record = read_record(target)
        if not target.exists():
            member = record.get("member")
            if member is None or not (first := cls.paths(folder)[0]).exists():
                return None
            found = stored_array(first, member)
            # The file may have been replaced since it was checked.
            return None if found is None or found.crc != record.get("crc") else found.array
        try:
            array: Bytes = np.load(target, mmap_mode="r", allow_pickle=False)
            cls(array)
        except (OSError, EOFError, ValueError, BenchError) as error:
            raise BenchError(f"{target} is damaged ({error}); delete it and it is prepared again.") from error
        return array

    @classmethod
    def missing(cls, folder: Path) -> list[OfficialFile]:
        """The official files that are not in ``folder``."""
        return [
            file for file, path in zip(cls.official_files(folder), cls.paths(folder), strict=True) if not path.exists()
        ]

    @classmethod
    def traces(cls, folder: Path) -> list[Path]:
        """Everything of this dataset in ``folder``, half a download included."""
        target = cls.array_path(folder)
        found = [target, target.with_suffix(".json"), target.with_name(f"{target.name}.lock")]
        for file in cls.accepted_files():
            found += [folder / f"{file.name}{ending}" for ending in ("", ".part", ".part.json", ".lock")]
        found += folder.glob(f".{target.stem}-*.tmp*")
        return [path for path in found if path.exists() or path.is_symlink()]

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
                    if words := problem(path, file, report):
                        raise BenchError(f"{path} is not the official file: it {words}; delete it and fetch it again.")
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
        """Read everything of this dataset in ``folder`` and compare checksums; one line for each file.

        Raises ``BenchError`` if a file is not what it should be, or nothing is there.
        """
        lines = []
        for file, path in zip(cls.official_files(folder), cls.paths(folder), strict=True):
            if path.exists():
                if words := problem(path, file, report):
                    raise BenchError(f"{path} {words}; delete it and fetch it again.")
                known = "is the official file" if file.sha256 or file.md5 else "has no published checksum"
                lines.append(f"{path.name} {'has an advisory checksum' if file.advisory else known}")
        array = cls.prepared(folder)
        if array is not None:
            target = cls.array_path(folder)
            record = read_record(target)
            found = array_digest(array, target.name, report)
            if found != record.get("sha256"):
                raise BenchError(
                    f"the array of {cls.card.name} in {folder} has the SHA-256 {found}, not the {record.get('sha256')} "
                    f"it was prepared with; delete {target.name} and it is prepared again."
                )
            lines.append(f"the array of {cls.card.name} is as it was prepared, SHA-256 {found}")
        if not lines:
            raise missing_file(cls.card, cls.card.files[0], folder)
        return lines


def missing_file(card: Card, file: OfficialFile, folder: Path) -> BenchError:
    """The error for an official file that is not there."""
    where = file.urls[0] if file.urls else card.source
    size = f" ({megabytes(file.size)})" if file.size else ""
    alike = " rooms3d has the same factors and needs no download." if card.name == "shapes3d" else ""
    alike = " dsprites_rendered is drawn like it and needs no download." if card.name == "dsprites" else alike
    return BenchError(
        f"{card.name} needs the file {file.name}, which is not in {folder}: run `dbench data download {card.name}`, "
        f"or download {where}{size} and put it there.{alike or ' rooms3d and dsprites_rendered need no download.'}"
    )


def adopt(card: Card, files: tuple[OfficialFile, ...], source: Path, folder: Path, report: Report = silent) -> Path:
    """Make a file that the user has serve as the official one, by a link where the system allows, else by a copy.

    Which of ``files`` it is follows from its name, or from its checksum, or because there is only one. Raises
    ``BenchError`` if it is none of them.
    """
    source = source.expanduser().absolute()
    if not source.is_file():
        raise BenchError(f"{source} is not a file; give one of {', '.join(file.name for file in files)}.")
    named = [file for file in files if file.name == source.name]
    file = named[0] if named else files[0] if len(files) == 1 else _by_checksum(card, files, source, report)
    if words := problem(source, file, report):
        raise BenchError(f"{source} is not {file.name} of {card.name}: it {words}.")
    target = folder / file.name
    with locked(target):
        if target.exists() and target.samefile(source):
            return target
        temporary = target.with_name(f".{target.name}.{os.getpid()}.link")
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(source)
        except OSError:  # Windows without the right to, or a file system that has no links
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
        temporary.replace(target)
    return target


def _by_checksum(card: Card, files: tuple[OfficialFile, ...], source: Path, report: Report) -> OfficialFile:
    found = {digest(source, "sha256", report), digest(source, "md5", report)}
    for file in files:
        if found & {file.sha256, file.md5}:
            return file
    names = ", ".join(file.name for file in files)
    raise BenchError(f"{source} is none of the files of {card.name}; they are {names}.")
