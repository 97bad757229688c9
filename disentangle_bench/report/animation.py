"""Latent traversals as a moving picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path
from disentangle_bench.report.panels import INACTIVE, MOST, active_latents, tile

MILLISECONDS = 120
"""That each frame is shown."""
SIDE = 96
"""Pixels that an image is wide at least: smaller ones are enlarged, by whole factors."""
CAPTION = 14
"""Pixels above each image, in which the latent is named."""


def traversal_frames(pictures: Mapping[str, npt.NDArray[Any]], matrices: Mapping[str, npt.NDArray[Any]]) -> list[Any]:
    """Pillow images of one loop: all latents in rows of up to five, each moving alone, up and down again.

    ``pictures["traversals"]`` [d, steps, h, w, c]. Inactive latents are named in grey.
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
    """Write an endless GIF of the frames; the same frames give the same bytes."""
    with atomic_path(target) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0)
    return [target]
