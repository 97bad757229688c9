"""Draw the outlines of dSprites as polygons and fill them, with the same bytes on every machine.

A pixel is on if its centre lies inside the outline; there is no antialiasing. Positions fall on fractions of a pixel
that differ for 31 of 32 positions along each axis, so there is no small stock of masks to copy from. Each image is
therefore filled anew, row by row, which takes microseconds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

SIDE = 64
SCALES, ANGLES, POSITIONS = 6, 40, 32
SHAPES = ("square", "ellipse", "heart")
CASES = len(SHAPES) * SCALES * ANGLES
_DIGITS = 9
"""Sines, cosines and numbers computed from them are rounded to this many digits. They differ between C libraries by far
less than that, and everything that follows is + - * / and comparisons, which IEEE 754 rounds alike everywhere."""


def square() -> Floats:
    """Return the corners (u, v) [4, 2] of the upright square at scale 1, in pixels, with v pointing down."""
    half = 9.5995
    return np.array([(-half, -half), (half, -half), (half, half), (-half, half)])


def ellipse() -> Floats:
    """Return the corners [54, 2] of the ellipse, which the original also draws as a polygon."""
    t = (np.arange(54) + 0.5) * 2 * math.pi / 54
    return np.stack([12.77 * np.cos(t), 7.23 * np.sin(t)], axis=1)


def heart() -> Floats:
    """Return the corners [360, 2] of the heart: 181 in each half, of which the two on the axis are shared."""
    t = np.arange(360) * math.pi / 180
    u = 9.596 * np.sin(t) ** 3
    v = -(8.607 * np.cos(t) - 3.314 * np.cos(2 * t) - 1.3255 * np.cos(3 * t) - 0.6635 * np.cos(4 * t)) - 1.436
    return np.stack([u, v], axis=1)


@functools.cache
def polygons() -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return all outlines about their centres: concatenated corners (x, y) [m, 2], and the start of each case [721].

    Cases are shape, scale and orientation in grid order. The first corner of each case is repeated at its end. y points
    down, and orientations turn counter-clockwise.
    """
    parts = []
    for outline in (square(), ellipse(), heart()):
        for scale in range(SCALES):
            for angle in range(ANGLES):
                # Orientation 39 is a full turn: the same numbers as orientation 0, to the last bit.
                turn = 2 * math.pi * (angle % (ANGLES - 1)) / (ANGLES - 1)
                cos, sin = math.cos(turn), math.sin(turn)
                u, v = outline[:, 0], outline[:, 1]
                turned = np.stack([cos * u + sin * v, cos * v - sin * u], axis=1) * (5 + scale) / 10
                parts.append(np.round(np.concatenate([turned, turned[:1]]), _DIGITS))
    begins = np.cumsum([0, *map(len, parts)])
    return np.concatenate(parts), begins.astype(np.int64)


def centres() -> Floats:
    """Return the 32 positions along an axis, in pixels from the image's edge."""
    return 16 + 32 * np.arange(POSITIONS) / (POSITIONS - 1)


def _fill(corners: Any, begins: Any, case: Any, x: Any, y: Any, out: Any, crossings: Any, count: Any) -> None:
    """Fill the zero images ``out`` [b, 64, 64] with 255 inside the outlines ``case`` with centres ``x`` and ``y``.

    The crossings of each edge with the rows' middle lines are collected; then each row is filled between its first and
    second crossings, and its third and fourth. ``crossings`` [64, 8] and ``count`` [64] are scratch. Compiled by numba.
    """
    for image in range(case.shape[0]):
        count[:] = 0
        x0, y0 = x[image] - 0.5, y[image] - 0.5  # so that the middle of pixel c is at c
        for k in range(begins[case[image]], begins[case[image] + 1] - 1):
            xa, ya, xb, yb = corners[k, 0], corners[k, 1] + y0, corners[k + 1, 0], corners[k + 1, 1] + y0
            if ya > yb:
                xa, ya, xb, yb = xb, yb, xa, ya
            for r in range(int(np.ceil(ya)), int(np.ceil(yb))):  # half open, so that a corner counts once
                crossing = x0 + xa + (r - ya) * (xb - xa) / (yb - ya)
                j = count[r]
                while j > 0 and crossings[r, j - 1] > crossing:
                    crossings[r, j] = crossings[r, j - 1]
                    j -= 1
                crossings[r, j] = crossing
                count[r] += 1
        for r in range(count.shape[0]):
            for j in range(0, count[r], 2):
                for c in range(int(np.ceil(crossings[r, j])), int(np.ceil(crossings[r, j + 1]))):
                    out[image, r, c] = 255


@functools.cache
def _compiled() -> Callable[..., None]:
    from disentangle_bench.jit import njit

    return njit(nogil=True)(_fill)


def draw(case: Positions, column: Positions, row: Positions) -> npt.NDArray[np.uint8]:
    """Return images [b, 64, 64], 0 and 255, of the outlines ``case`` [b] at ``column`` and ``row`` [b], 0 .. 31."""
    corners, begins = polygons()
    out = np.zeros((len(case), SIDE, SIDE), dtype=np.uint8)
    crossings, count = np.empty((SIDE, 8)), np.empty(SIDE, dtype=np.int64)
    x, y = centres()[column], centres()[row]
    _compiled()(corners, begins, case, x, y, out, crossings, count)
    return out
