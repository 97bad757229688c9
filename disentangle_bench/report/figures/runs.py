"""Draw figures of one run: latent traversals, reconstructions, codes, and the matrices behind the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path
from disentangle_bench.report.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, npt.NDArray[Any]]
MATRICES = {
    "infomec.nmi": "normalised mutual information (InfoMEC)",
    "dci.importance": "importance for predicting the factor (DCI)",
}
"""The matrices to draw, with their titles; those of other metrics are not drawn."""
INACTIVE = "0.6"
"""Grey for the names of inactive latents."""
MOST = 32
"""Largest number of latents drawn; a figure with more could not be printed."""
POINTS = 2000
"""Largest number of images drawn in a scatter plot."""
MILLISECONDS = 120
"""Duration of each frame of an animation."""
SIDE = 96
"""Smallest width of an image in pixels: smaller images are enlarged by a whole factor."""
CAPTION = 14
"""Height in pixels of the space above each image, which names the latent."""


def tile(images: npt.NDArray[np.uint8], gap: int = 2) -> npt.NDArray[np.uint8]:
    """Return one image [rows * (h + gap) - gap, ..., 3] of images [rows, columns, h, w, c] with white gaps.

    c must be 1 or 3.
    """
    rows, columns, h, w, c = images.shape
    if c not in (1, 3):
        raise ValueError(f"images of {c} channels cannot be drawn")
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (h + gap), column * (w + gap)
            sheet[top : top + h, left : left + w] = images[row, column]
    return sheet


def _sheet(images: npt.NDArray[np.uint8], cell: float, margin: float, title: str, extra: float) -> tuple[Figure, Axes]:
    """Return a figure of tiled images, each ``cell`` inches wide, and its axes."""
    rows, columns, h, w, _ = images.shape
    high = cell * h / w
    figure = style.figure(columns * cell + margin, rows * high + extra)
    axis = figure.subplots()
    axis.imshow(tile(images), interpolation="nearest", aspect="equal")
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    figure.suptitle(title)
    axis.set_yticks([row * (h + 2) + h / 2 for row in range(rows)])
    return figure, axis


def traversals_figure(title: str, pictures: Arrays, matrices: Arrays) -> Figure:
    """Draw a row of images per latent, in which only this latent changes; inactive latents are named in grey.

    Reads ``pictures["traversals"]`` [d, steps, h, w, c]. Raises ``KeyError`` if it is missing and ``ValueError`` if it
    has another shape.
    """
    images = pictures["traversals"][:MOST]
    d, steps = images.shape[:2]
    active = active_latents(matrices, len(pictures["traversals"]))[:MOST]
    cell = min(0.6, 6.0 / steps)
    figure, axis = _sheet(images, cell, 0.9, title, 0.75)
    axis.set_yticklabels(
        [f"latent {latent}" if active[latent] else f"latent {latent}\n(inactive)" for latent in range(d)]
    )
    for tick, on in zip(axis.get_yticklabels(), active, strict=True):
        tick.set_color("black" if on else INACTIVE)
    axis.set_xlabel("one latent changes from low to high, the others stay")
    return figure


def reconstructions_figure(title: str, pictures: Arrays) -> Figure:
    """Draw originals above their reconstructions.

    Reads ``pictures["originals"]`` and ``pictures["reconstructions"]``, each [m, h, w, c].
    """
    images = np.stack([pictures["originals"], pictures["reconstructions"]])[:, :12]
    figure, axis = _sheet(images, min(0.7, 6.0 / images.shape[1]), 1.2, title, 0.4)
    axis.set_yticklabels(["original", "reconstruction"])
    return figure


def matrices_figure(
    title: str, matrices: Arrays, factor_names: Sequence[str], latent_names: Sequence[str] = ()
) -> Figure:
    """Draw heat maps of factors [k] against latents [d]: normalised mutual information, and DCI's importance.

    Reads ``infomec.nmi`` [k, d] and ``dci.importance`` [d, k], either of which may be missing, and ``infomec.active``
    [d], to hatch inactive latents. Raises ``ValueError`` if both matrices are missing.
    """
    maps = {name: matrices[key].T if key == "dci.importance" else matrices[key]
            for key, name in MATRICES.items() if key in matrices}  # fmt: skip
    if not maps:
        raise ValueError("it has neither infomec.nmi nor dci.importance")
    k, d = next(iter(maps.values())).shape
    active = active_latents(matrices, d)
    figure = style.figure(min(max(1.9 + 0.42 * d, 4.0), 12), len(maps) * (0.75 + 0.26 * k) + 0.45)
    axes = figure.subplots(len(maps), 1, squeeze=False).ravel()
    for axis, (name, matrix) in zip(axes, maps.items(), strict=True):
        _heat(figure, axis, name, np.asarray(matrix, dtype=float), active, latent_names)
        style.ticks(axis, [style.label(factor, 18, 2) for factor in factor_names[:k]])
    axes[-1].set_xlabel("latent" if active.all() else "latent (hatched: inactive)")
    figure.suptitle(title)
    return figure


def codebook_figure(title: str, indices: npt.NDArray[Any], matrices: Arrays) -> Figure:
    """Draw how often each latent uses each symbol: a row per latent, a column per symbol, and the latent's perplexity.

    ``indices`` [n, d] are the symbols chosen. Raises ``ValueError`` if they are not symbols.
    """
    if indices.ndim != 2 or not len(indices) or indices.min() < 0:
        raise ValueError("the codes' indices are no symbols [n, d]")
    d, v = min(indices.shape[1], MOST), int(indices.max()) + 1
    active = active_latents(matrices, indices.shape[1])[:d]
    share = np.stack([np.bincount(indices[:, latent], minlength=v) for latent in range(d)]) / len(indices)
    with np.errstate(divide="ignore", invalid="ignore"):
        perplexity = np.exp(-np.nansum(np.where(share > 0, share * np.log(share), 0), axis=1))
    figure = style.figure(style.WIDTH, 0.75 + 0.24 * d)
    axis = figure.subplots()
    # The square root keeps rare symbols visible beside frequent ones.
    mesh = style.heat(axis, np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(np.arange(0, v, max(1, v // 16)) + 0.5, [str(symbol) for symbol in range(0, v, max(1, v // 16))])
    names = [f"latent {latent}, perplexity {perplexity[latent]:.1f}" for latent in range(d)]
    style.ticks(axis, [text if active[latent] else f"{text} (inactive)" for latent, text in enumerate(names)])
    for tick, on in zip(axis.get_yticklabels(), active, strict=True):
        tick.set_color("black" if on else INACTIVE)
    used = int((share > 0).any(axis=0).sum())
    axis.set_xlabel(f"symbol (of {v}, {used} are used by some latent)")
    bar = figure.colorbar(mesh, ax=axis, fraction=0.03, pad=0.01, ticks=np.sqrt([0, 0.01, 0.1, 0.25, 0.5, 1]))
    bar.ax.set_yticklabels(["0 %", "1 %", "10 %", "25 %", "50 %", "100 %"])
    bar.outline.set_visible(False)
    figure.suptitle(title)
    return figure


def _heat(
    figure: Figure,
    axis: Axes,
    name: str,
    matrix: npt.NDArray[np.float64],
    active: npt.NDArray[np.bool_],
    latent_names: Sequence[str],
) -> None:
    from matplotlib.patches import Rectangle

    k, d = matrix.shape
    top = 1.0 if np.nanmax(matrix) <= 1 else float(np.nanmax(matrix))
    mesh = style.heat(axis, np.where(active, matrix, np.nan), d <= 24, cmap="Blues", vmin=0, vmax=top)
    axis.set_title(name)
    style.ticks(axis, columns=[style.label(latent, 12, 1) for latent in latent_names or map(str, range(d))])
    if any(len(latent) > 3 for latent in latent_names):
        axis.tick_params(axis="x", rotation=90)
    for latent, tick in enumerate(axis.get_xticklabels()):
        tick.set_color("black" if active[latent] else INACTIVE)
    for latent in np.flatnonzero(~active).tolist():
        axis.add_patch(Rectangle((latent, 0), 1, k, fill=False, hatch="////", edgecolor="0.75", linewidth=0))
    figure.colorbar(mesh, ax=axis, fraction=0.03, pad=0.01).outline.set_visible(False)


def latents_figure(
    title: str, codes: npt.NDArray[Any], factors: npt.NDArray[Any], matrices: Arrays, factor_names: Sequence[str]
) -> Figure:
    """Draw, for each factor, the two latents that say most about it: a point per image, coloured by the factor.

    Reads ``codes`` [n, d], ``factors`` [n, k] and ``matrices["infomec.nmi"]`` [k, d]. Raises ``ValueError`` or
    ``KeyError`` if these do not fit together or if there are fewer than two latents.
    """
    nmi = np.nan_to_num(np.asarray(matrices["infomec.nmi"], dtype=float))
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or nmi.shape[1] != codes.shape[1]:
        raise ValueError("codes, factors and matrices are not of the same images and latents")
    if codes.shape[1] < 2:
        raise ValueError("pairs need two latents")
    import seaborn

    rows = np.linspace(0, len(codes) - 1, min(len(codes), POINTS)).astype(int)
    k = min(factors.shape[1], 9)
    columns = min(3, k)
    figure = style.figure(style.WIDTH, 2.3 * -(-k // columns) + 0.4)
    axes = figure.subplots(-(-k // columns), columns, squeeze=False).ravel()
    for unused in axes[k:]:
        unused.set_axis_off()
    for factor, axis in enumerate(axes[:k]):
        first, second = np.argsort(-nmi[factor], kind="stable")[:2]
        seaborn.scatterplot(x=codes[rows, first], y=codes[rows, second], hue=factors[rows, factor], palette="viridis",
                            s=5, linewidth=0, alpha=0.7, legend=False, rasterized=True, ax=axis)  # fmt: skip
        name = factor_names[factor] if factor < len(factor_names) else f"factor {factor}"
        axis.set_title(style.label(name, 30, 1))
        axis.set(xlabel=f"latent {first}", ylabel=f"latent {second}")
        axis.locator_params(nbins=4)
    figure.suptitle(f"{title}: the two latents that know most of each factor")
    return figure


def active_latents(matrices: Arrays, d: int) -> npt.NDArray[np.bool_]:
    """Return a mask [d] of the active latents; all count as active if the run does not say."""
    active = np.asarray(matrices.get("infomec.active", np.ones(d)), dtype=bool)
    return active if active.shape == (d,) else np.ones(d, dtype=bool)


def traversal_frames(pictures: Arrays, matrices: Arrays) -> list[Any]:
    """Return the frames of one loop as Pillow images: all latents in rows of up to five, each moving up and down alone.

    Reads ``pictures["traversals"]`` [d, steps, h, w, c]. The names of inactive latents are grey.
    """
    from PIL import Image, ImageDraw

    images = pictures["traversals"][:MOST]
    d, steps, h, w, c = images.shape
    on = active_latents(matrices, len(pictures["traversals"]))[:MOST]
    factor = max(1, math.ceil(SIDE / w))
    columns = min(d, 5)
    rows = math.ceil(d / columns)
    cell = np.full((rows * columns, CAPTION + h * factor, w * factor, c), 255, dtype=np.uint8)
    frames = []
    for step in [*range(steps), *range(steps - 2, 0, -1)]:
        cell[:d, CAPTION:] = images[:, step].repeat(factor, axis=1).repeat(factor, axis=2)
        frame = Image.fromarray(tile(cell.reshape(rows, columns, *cell.shape[1:]), gap=4))
        pen = ImageDraw.Draw(frame)
        for latent in range(d):
            left, top = latent % columns * (w * factor + 4), latent // columns * (cell.shape[1] + 4)
            grey = round(255 * float(INACTIVE))
            text = f"latent {latent}" if on[latent] else f"{latent} (inactive)"
            pen.text((left + 2, top + 1), text, fill=(0, 0, 0) if on[latent] else (grey, grey, grey))
        frames.append(frame)
    return frames


def save_gif(frames: list[Any], target: Path) -> list[Path]:
    """Write the frames as an endlessly looping GIF; the same frames give the same bytes."""
    with atomic_path(target) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0)
    return [target]
