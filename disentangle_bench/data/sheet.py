"""Draw a picture of a dataset: a row per factor with the other factors held, then random images with their factors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path
from disentangle_bench.data.dataset import Card, Dataset
from disentangle_bench.errors import BenchError

COLUMNS = 15
ROWS = 2
_GAP = 4


def held_position(dataset: Dataset) -> int:
    """Return the position whose factors the rows of a sheet hold: inside a grid, or the middle of a list.

    Each factor is at a different fraction of its size, so that three hues are three colours.
    """
    sizes = dataset.card.factor_sizes
    if len(dataset) != len(dataset.card.grid):
        return len(dataset) // 2
    held = [(2 * k + 1) * size // (2 * len(sizes)) for k, size in enumerate(sizes)]
    return int(dataset.card.grid.index([held])[0])


def traversal(dataset: Dataset, factor: int, position: int, columns: int = COLUMNS) -> npt.NDArray[np.int64]:
    """Return positions [m] of images along one factor, with the others as at ``position``; at most ``columns`` values.

    In a list that is not a full grid, these are the images that exist.
    """
    sizes = dataset.card.factor_sizes
    if len(dataset) != len(dataset.card.grid):
        table = dataset.factors(np.arange(len(dataset)))
        others = np.arange(table.shape[1]) != factor
        alike = np.flatnonzero((table[:, others] == table[position, others]).all(axis=1))
        _, first = np.unique(table[alike, factor], return_index=True)
        row = alike[first]
        return row[_spread(len(row), columns)]
    factors = np.repeat(dataset.factors([position]), sizes[factor], axis=0)
    factors[:, factor] = np.arange(sizes[factor])
    return dataset.card.grid.index(factors)[_spread(sizes[factor], columns)]


def _spread(n: int, columns: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, n - 1, min(n, columns)).round().astype(np.int64)


def value(card: Card, factor: int, k: int) -> str:
    """Return position ``k`` of a factor as text: its value, or the number itself."""
    stands: Any = card.factor_values[factor][k] if card.factor_values else k
    return f"{stands:.3g}" if isinstance(stands, float) else str(stands)


def draw_sheet(dataset: Dataset, target: Path, seed: int = 0, position: int | None = None) -> None:
    """Write the sheet to ``target``, in the format of its suffix, atomically.

    ``seed`` chooses the random images, ``position`` the image whose factors the rows hold.
    """
    # Figure instead of pyplot, which needs no window system and does not change the caller's state.
    from matplotlib.figure import Figure

    card = dataset.card
    at = held_position(dataset) if position is None else position
    rows = []
    for k, name in enumerate(card.factor_names):
        along = traversal(dataset, k, at)
        rows.append(
            (f"{name}\n{card.factor_sizes[k]} values", along, [value(card, k, f) for f in dataset.factors(along)[:, k]])
        )
    drawn = np.random.default_rng(seed).integers(len(dataset), size=(ROWS, COLUMNS))
    for index in drawn:
        labels = ["\n".join(value(card, k, f) for k, f in enumerate(row)) for row in dataset.factors(index)]
        rows.append(("random", index, labels))

    _, h, w = card.image_shape
    line = 10  # pixels from one line of text to the next
    heights = [h + _GAP + line * (1 + max(label.count("\n") for label in labels)) + 8 for _, _, labels in rows]
    left, width, height = 130, COLUMNS * (w + _GAP), sum(heights)
    figure = Figure(figsize=((left + width) / 100, height / 100), dpi=100, facecolor="white")

    def write(x: float, y: float, lines: Sequence[str], side: Literal["center", "right"]) -> None:
        """Write lines of text below the point, each at its own height, whether or not letters have descenders."""
        for j, text in enumerate(lines):
            at = (x / (left + width), (y - 1 - line * j) / height)
            figure.text(*at, text, ha=side, va="top", fontsize=6)

    canvas = np.full((height, left + width, 3), 255, dtype=np.uint8)
    top = 0
    for (name, index, labels), row_height in zip(rows, heights, strict=True):
        images = dataset.images(index)
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            x, y = left + k * (w + _GAP), height - top - h
            canvas[top : top + h, x : x + w] = image if image.shape[-1] == 1 else image[..., :3]
            write(x + w / 2, y, label.split("\n"), "center")
        figure.text((left - 8) / (left + width), 1 - (top + 4) / height, name, ha="right", va="top", fontsize=7)
        if name == "random":
            write(left - 8, y, card.factor_names, "right")
        top += row_height
    figure.figimage(canvas)
    try:
        with atomic_path(target) as temporary:
            # The version of matplotlib is left out, so that only a changed picture changes the file.
            figure.savefig(temporary, metadata={"Software": None} if target.suffix == ".png" else None)
    except ValueError as error:  # matplotlib's list of formats
        raise BenchError(f"{target} cannot be drawn ({error}); give a name that ends in .png.") from error
