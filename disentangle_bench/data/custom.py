"""Datasets from a user's file, without touching the package: ``--datasets path/to/data.npz``.

The file is a ``.npz`` or an HDF5 file (``.h5``, ``.hdf5``) with the arrays

- ``images``: uint8 [n, h, w, c] or, with one channel, [n, h, w];
- ``factors``: [n, k], numbers of any kind, one row for each image; or ``factor_sizes``: [k], if the images are a full
  grid in C order, the last factor fastest; or neither, in which case only what needs no factors is scored;
- ``factor_names``: k names, optional;

or a ``.csv`` whose first column names pictures in the same folder and whose other columns are factors. Options follow
the path: ``data.npz?resize=64&bins=10``.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.arrays import ArrayDataset
from disentangle_bench.data.dataset import Card, Report, silent
from disentangle_bench.data.files import expanded, locked
from disentangle_bench.data.prepared import DAMAGED, open_array, write_array
from disentangle_bench.data.sources import SUFFIXES, Pictures, Source, open_source, resized_block
from disentangle_bench.errors import BenchError, listed, one_line

_log = logging.getLogger(__name__)

OPTIONS = {"resize": range(8, 1025), "scale": range(1, 256), "bins": range(2, 1001)}
"""Options that may follow a path: side of the images, multiplier of bytes, number of bins of continuous factors."""
CHANNELS = (1, 3, 4)
SAMPLE = 64
"""Number of images to check for having only the bytes 0 and 1."""


class CustomDataset(ArrayDataset):
    """A dataset from a file; ``custom_class`` makes a subclass with the card, the path and the table of factors."""

    path: ClassVar[Path]
    options: ClassVar[dict[str, int]]
    table: ClassVar[npt.NDArray[np.int64] | None]
    """Factors [n, k] as 0 .. size - 1; None if the images are a full grid."""

    def factors(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return factor values [n, k] of the images at ``index`` [n], in the card's order."""
        if self.table is None:
            return super().factors(index)
        return self.table[np.asarray(index, dtype=np.int64)]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the images in their file; if that is compressed, unpack them to ``folder`` first."""
        return cls.prepare(folder)

    @classmethod
    def prepare(cls, folder: Path, *, download: bool = True, report: Report = silent) -> Self:
        """Open the dataset as ``load`` does; there is nothing to download."""
        try:
            source = open_source(cls.path)
            array = None if cls.options.keys() & {"resize", "scale"} else source.mapped()
            dataset = cls(cls._unpacked(source, Path(folder), report) if array is None else array)
        except DAMAGED as error:
            raise BenchError(f"{cls.path} cannot be read: {one_line(error)}") from error
        sample = dataset.images(np.unique(np.linspace(0, len(dataset) - 1, SAMPLE).astype(np.int64)))
        if sample.max(initial=0) == 1 and "scale" not in cls.options:
            raise BenchError(
                f"{cls.path}: images has only bytes 0 and 1, and 1 of 255 is black; multiply by 255, "
                f"or write {cls.card.name}{'&' if cls.options else '?'}scale=255 (scale=1 leaves the bytes as they are)"
            )
        return dataset

    @classmethod
    def _unpacked(cls, source: Source, folder: Path, report: Report) -> npt.NDArray[np.uint8]:
        target = folder / f"{cls.path.stem}-{cls.card.version:013x}.npy"
        if not target.exists():
            with locked(target):
                if not target.exists():
                    write_array(target, cls.card, cls._blocks(source), {"source": str(cls.path)}, report)
        return open_array(target)

    @classmethod
    def _blocks(cls, source: Source) -> Iterator[npt.NDArray[np.uint8]]:
        c, h, w = cls.card.image_shape
        scale = cls.options.get("scale", 1)
        for block in source.blocks():
            if "resize" in cls.options:
                block = resized_block(block, h)
            if block[0].size != c * h * w:
                raise BenchError(
                    f"{cls.path}: a picture has the shape {block.shape[1:]} and the first {(h, w, c)}; "
                    "give ?resize=64 after the path"
                )
            if scale > 1 and block.max(initial=0) * scale > 255:
                raise BenchError(f"{cls.path}: images has the byte {block.max()}, too large for ?scale={scale}")
            yield block.reshape(-1, h, w, c) * np.uint8(scale)


def canonical_name(name: str) -> str:
    """Return the canonical name of a dataset that is a file: the absolute path, and the options in sorted order.

    Raises ``BenchError`` for unknown options, and for a path that cannot be resolved.
    """
    path, options = _parsed(name)
    try:
        path = path.parent.resolve() / path.name
    except (OSError, RuntimeError) as error:
        raise _cannot_open(name, error) from error
    return str(path) + "&".join(f"{'' if k else '?'}{key}={options[key]}" for k, key in enumerate(sorted(options)))


def is_file_name(name: str) -> bool:
    """Return whether ``name`` is the path of a file with images, judged by its suffix."""
    return name.partition("?")[0].lower().endswith(SUFFIXES)


def _parsed(name: str) -> tuple[Path, dict[str, int]]:
    text, _, query = name.partition("?")
    options = {}
    for word in filter(None, query.split("&")):
        key, _, value = word.partition("=")
        allowed = OPTIONS.get(key)
        if allowed is None or not (value.isascii() and value.isdigit() and len(value) < 5 and int(value) in allowed):
            ranges = ", ".join(f"{option}={r.start}..{r.stop - 1}" for option, r in OPTIONS.items())
            raise BenchError(f"the dataset {name!r} has the option {word!r}. Allowed: {ranges}.")
        options[key] = int(value)
    return expanded(text), options


def _cannot_open(name: str, error: Exception) -> BenchError:
    reason = getattr(error, "strerror", None) or error
    return BenchError(f"the dataset {name!r} cannot be opened ({reason}); give a name or the path of a file.")


def custom_class(name: str) -> type[CustomDataset]:
    """Return the dataset class for the file ``name``; its card's version is a hash of the file's content.

    Raises ``BenchError`` if the file is missing or not in the format that this module describes.
    """
    name = canonical_name(name)
    path, _ = _parsed(name)
    try:
        state = path.stat()
        if not path.is_file():
            raise BenchError(f"the dataset {name!r} is not a file; give one that ends in {', '.join(SUFFIXES)}.")
        return _class(name, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise _cannot_open(name, error) from error


@functools.lru_cache(maxsize=32)
def _class(name: str, size: int, changed: int) -> type[CustomDataset]:
    """Return the class for ``custom_class``; a file whose size or modification time has changed is read again."""
    path, options = _parsed(name)
    try:
        source = open_source(path)
        state = hashlib.sha256(source.content())
    except BenchError:
        raise
    except Exception as error:  # h5py, zipfile and numpy raise almost anything for damaged files
        raise BenchError(f"{path} cannot be read: {one_line(error) or type(error).__name__}") from error
    if options:
        state.update(name.partition("?")[2].encode())
    n, h, w, c = _image_shape(source, options)
    sizes, values, table = _factors(source, n, options.get("bins"))
    if not sizes:
        _log.warning("%s has no factors, so only what needs none is scored (mse, latents)", path)
    names = _names(path, source.arrays.get("factor_names"), len(sizes))
    card = Card(
        name=name,
        version=int(state.hexdigest()[:13], 16),  # 52 bits, which JSON and CSV preserve
        summary=f"{n} images from the file {path.name}.",
        factor_names=names,
        factor_sizes=sizes,
        image_shape=(c, h, w),
        licence="the user's own",
        citation=f"the file {path.name}",
        factor_values=values,
        images=n,
        resized=f"{source.shape[1]} x {source.shape[2]} to {h} x {w}" if "resize" in options else "",
    )
    content = {"card": card, "path": path, "options": options, "table": table, "__doc__": card.summary}
    return type("Custom", (CustomDataset,), content)


def _image_shape(source: Source, options: dict[str, int]) -> tuple[int, int, int, int]:
    """Return n, h, w, c of the images in the form used for training."""
    path, shape = source.path, source.shape
    if source.dtype != np.uint8 or len(shape) not in (3, 4):
        raise BenchError(f"{path} has images {source.dtype} {shape}; uint8 [n, h, w, c] or [n, h, w] is needed.")
    n, h, w, c = (*shape, 1)[:4]
    if not math.prod(shape):
        raise BenchError(f"{path} has images {shape}, none at all; uint8 [n, h, w, c] or [n, h, w] is needed.")
    if c not in CHANNELS:
        hint = "; are these channels first? Save images.transpose(0, 2, 3, 1)" if h in CHANNELS else ""
        raise BenchError(f"{path} has images {shape} of {c} channels, and 1, 3 or 4 are possible{hint}.")
    side = options.get("resize")
    return (n, side, side, c) if side else (n, h, w, c)


def _factors(
    source: Source, n: int, bins: int | None
) -> tuple[tuple[int, ...], tuple[tuple[Any, ...], ...], npt.NDArray[np.int64] | None]:
    """Return the sizes, values and table of the factors; the table is None for a full grid."""
    path = source.path
    if isinstance(source, Pictures):
        return _ranked(path, source.columns, n, bins)
    if not source.arrays.keys() & {"factors", "factor_sizes"}:
        return _ranked(path, [], n, bins)
    if "factors" not in source.arrays:
        return _sizes(path, source.arrays["factor_sizes"], n), (), None
    factors = source.arrays["factors"]
    if factors.ndim != 2 or len(factors) != n or not factors.shape[1] or factors.dtype.kind not in "biuf":
        raise BenchError(
            f"{path} has factors {factors.dtype} {factors.shape} for {n} images; numbers [n, k] are needed."
        )
    return _ranked(path, list(factors.T), n, bins)


def _sizes(path: Path, sizes: npt.NDArray[Any], n: int) -> tuple[int, ...]:
    whole = sizes.dtype.kind in "biuf" and sizes.ndim <= 1 and bool(np.isfinite(sizes).all() and (sizes % 1 == 0).all())
    numbers = tuple(int(size) for size in np.atleast_1d(sizes)) if whole else ()
    if not numbers or min(numbers) < 1 or math.prod(numbers) != n:
        raise BenchError(
            f"{path} has {n} images and factor_sizes {one_line(sizes.tolist())[:80]}; "
            "give factors [n, k], or sizes [k] of product n."
        )
    return numbers


def _ranked(
    path: Path, columns: Sequence[npt.NDArray[Any]], n: int, bins: int | None
) -> tuple[tuple[int, ...], tuple[tuple[Any, ...], ...], npt.NDArray[np.int64]]:
    """Return the sizes, values and table [n, k] of factors that are given for each image."""
    values, ranks = [], []
    for k, column in enumerate(columns):
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise BenchError(f"{path} has factors that are not finite; every image needs all its factors.")
        distinct, rank = np.unique(column, return_inverse=True)
        fractions = column.dtype.kind == "f" and bool((distinct % 1 != 0).any())
        if bins is not None and fractions and len(distinct) > bins:
            edges = np.linspace(distinct[0], distinct[-1], bins + 1)
            centres = (edges[:-1] + edges[1:]) / 2
            used, rank = np.unique(np.searchsorted(edges[1:-1], column, side="right"), return_inverse=True)
            distinct = centres[used]
        elif fractions and len(distinct) > max(10, n // 4):
            _log.warning(
                "%s: factor %d has %d values in %d images; if it is continuous or has rounding noise, round it, or "
                "write ?bins=10 after the path to divide its range into 10 equal parts",
                path,
                k,
                len(distinct),
                n,
            )
        values.append(tuple(distinct.tolist()))
        ranks.append(rank)
    table = np.stack(ranks, axis=1).astype(np.int64) if ranks else np.zeros((n, 0), dtype=np.int64)
    return tuple(map(len, values)), tuple(values), table


def _names(path: Path, given: npt.NDArray[Any] | None, k: int) -> tuple[str, ...]:
    if given is None:
        return tuple(f"factor_{j}" for j in range(k))
    texts = np.atleast_1d(given).ravel().tolist()
    names = tuple(one_line(word.decode("utf-8", "replace") if isinstance(word, bytes) else word) for word in texts)
    if len(names) != k or len(set(names)) != k or not all(names):
        raise BenchError(f"{path} has the factor_names {listed(names)}; {k} different ones are needed.")
    return names
