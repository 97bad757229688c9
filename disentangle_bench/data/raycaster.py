"""The ray caster of rooms3d: rooms with one object, as masks without colour, with the same bytes on every machine.

A mask says how much of each pixel is floor, wall, object or sky, times how brightly that part is lit. Light and camera
are fixed to each other; the masks depend only on scale, shape and orientation.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Vector: TypeAlias = tuple[Floats, Floats, Floats]
"""A field of vectors as three arrays. Sums over them are written out, since a library's dot product may fuse or reorder
operations.
"""

SIDE = 64
SCALES = tuple(0.75 + 0.5 * k / 7 for k in range(8))
SHAPES = ("cube", "cylinder", "sphere", "capsule")
CASES = len(SCALES) * len(SHAPES) * 15
# The same pixels on every machine: the ray caster uses only + - * / sqrt, comparisons and floor in float64, which
# IEEE 754 rounds correctly everywhere. Sines and cosines differ between C libraries, so they are given here as numbers.
# Angles k * 30 / 7 degrees, k = 0 .. 7.
_COS = (
    1.0,
    0.997203797181,
    0.988830826225,
    0.974927912182,
    0.955572805786,
    0.930873748644,
    0.900968867902,
    0.866025403784,
)
_SIN = (0.0, 0.0747300935864, 0.149042266176, 0.222520933956, 0.294755174411, 0.365341024366, 0.433883739118, 0.5)
_TAN_HALF_VIEW = 0.455726255533  # of 24.5 degrees

# Lengths in units of half the room's width. The camera looks along +y, x is right, z is up, the room's centre is 0.
_CAMERA_DISTANCE, _CAMERA_HEIGHT = 0.75, 0.221
_WALL_HEIGHT = 0.588
_LIGHT = (-0.9, -1.1, 1.5)
_FAR = 1e9


def _lit(point: Vector, normal: Vector, ambient: float, diffuse: float) -> Floats:
    """Return the brightness 0..1 of a matt surface at ``point`` under the lamp, which moves with the camera."""
    x, y, z = (lamp - p for lamp, p in zip(_LIGHT, point, strict=True))
    along = x * normal[0] + y * normal[1] + z * normal[2]
    return ambient + diffuse * np.maximum(along / np.sqrt(x * x + y * y + z * z), 0.0)


def _rays() -> tuple[Vector, Vector]:
    """Return origins and directions of the rays, each [128, 128]: a regular grid of 2 x 2 in each pixel."""
    steps = (np.arange(2 * SIDE, dtype=np.float64) + 0.5) / SIDE - 1.0
    right, down = np.meshgrid(steps * _TAN_HALF_VIEW, steps * _TAN_HALF_VIEW)
    one = np.ones_like(right)
    return (0.0 * one, -_CAMERA_DISTANCE * one, _CAMERA_HEIGHT * one), (right, one, -down)


def _turned(v: Vector, cos: float, sin: float) -> Vector:
    """Return ``v`` turned about the vertical."""
    return cos * v[0] - sin * v[1], sin * v[0] + cos * v[1], v[2]


def _at(start: Vector, ray: Vector, t: Floats) -> Vector:
    return start[0] + t * ray[0], start[1] + t * ray[1], start[2] + t * ray[2]


def _room(cos: float, sin: float) -> tuple[Floats, Floats, Floats]:
    """Return the brightness of the floor and of the walls, and the sky (1 or 0), each [128, 128] and 0 elsewhere."""
    start, ray = _rays()
    start_in, ray_in = _turned(start, cos, sin), _turned(ray, cos, sin)
    side = np.where(ray_in[0] > 0.0, 1.0, -1.0)
    end = np.where(ray_in[1] > 0.0, 1.0, -1.0)
    to_side, to_end = (side - start_in[0]) / ray_in[0], (end - start_in[1]) / ray_in[1]
    zero, one = np.zeros_like(side), np.ones_like(side)
    on_side = to_side < to_end
    to_wall = np.minimum(to_side, to_end)
    to_floor = np.where(ray[2] < 0.0, -_CAMERA_HEIGHT / ray[2], _FAR)

    wall_point = _at(start, ray, to_wall)
    inward = np.where(on_side, -side, zero), np.where(on_side, zero, -end), zero
    wall = _lit(wall_point, _turned(inward, cos, -sin), 0.45, 0.5)
    floor = _lit(_at(start, ray, np.minimum(to_floor, to_wall)), (zero, zero, one), 0.4, 0.5)
    is_floor = to_floor < to_wall
    is_wall = ~is_floor & (wall_point[2] <= _WALL_HEIGHT)
    return np.where(is_floor, floor, 0.0), np.where(is_wall, wall, 0.0), np.where(is_floor | is_wall, 0.0, 1.0)


def _cube(start: Vector, ray: Vector, half: float, height: float) -> tuple[Floats, Vector]:
    """Return the distance at which rays hit a box on the floor (_FAR: never), and the outward normal there."""
    near, far, normals = [], [], []
    for origin, step, low, high in zip(start, ray, (-half, -half, 0.0), (half, half, height), strict=True):
        first, second = (low - origin) / step, (high - origin) / step
        near.append(np.minimum(first, second))
        far.append(np.minimum(np.maximum(first, second), _FAR))
    enter = np.maximum(np.maximum(near[0], near[1]), near[2])
    leave = np.minimum(np.minimum(far[0], far[1]), far[2])
    hit = (enter < leave) & (enter > 0.0)
    for axis in range(3):
        normals.append(np.where(near[axis] == enter, np.where(ray[axis] > 0.0, -1.0, 1.0), 0.0))
    return np.where(hit, enter, _FAR), (normals[0], normals[1], normals[2])


def _nearer_root(a: Floats, half_b: Floats, c: Floats) -> Floats:
    """Return the smaller root of a t^2 + 2 half_b t + c; _FAR if there is none or it lies behind the camera."""
    under = half_b * half_b - a * c
    t = (-half_b - np.sqrt(np.maximum(under, 0.0))) / a
    return np.where((under > 0.0) & (t > 0.0), t, _FAR)


def _ball(start: Vector, ray: Vector, radius: float, centre: float) -> tuple[Floats, Vector]:
    """Return the same as ``_cube`` for a ball whose centre is at height ``centre`` above the room's centre."""
    x, y, z = start[0], start[1], start[2] - centre
    a = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
    half_b = x * ray[0] + y * ray[1] + z * ray[2]
    t = _nearer_root(a, half_b, x * x + y * y + z * z - radius * radius)
    point = _at(start, ray, t)
    return t, (point[0] / radius, point[1] / radius, (point[2] - centre) / radius)


def _tube(start: Vector, ray: Vector, radius: float, low: float, high: float) -> tuple[Floats, Vector]:
    """Return the same as ``_cube`` for the curved side of an upright cylinder from height ``low`` to ``high``."""
    a = ray[0] * ray[0] + ray[1] * ray[1]
    half_b = start[0] * ray[0] + start[1] * ray[1]
    t = _nearer_root(a, half_b, start[0] * start[0] + start[1] * start[1] - radius * radius)
    x, y, z = _at(start, ray, t)
    return np.where((z >= low) & (z <= high), t, _FAR), (x / radius, y / radius, np.zeros_like(z))


def _disc(start: Vector, ray: Vector, radius: float, height: float) -> tuple[Floats, Vector]:
    """Return the same as ``_cube`` for a level disc seen from above."""
    t = (height - start[2]) / ray[2]
    x, y, _ = _at(start, ray, t)
    zero = np.zeros_like(x)
    return np.where((t > 0.0) & (x * x + y * y <= radius * radius), t, _FAR), (zero, zero, zero + 1.0)


def _nearest(first: tuple[Floats, Vector], second: tuple[Floats, Vector]) -> tuple[Floats, Vector]:
    """Return the nearer of two surfaces."""
    front = first[0] <= second[0]
    x, y, z = (np.where(front, p, q) for p, q in zip(first[1], second[1], strict=True))
    return np.minimum(first[0], second[0]), (x, y, z)


def _object(shape: str, scale: float, cos: float, sin: float) -> Floats:
    """Return the brightness of the object [128, 128], 0 outside it."""
    start, ray = _rays()
    if shape == "cube":
        t, normal = _cube(_turned(start, cos, sin), _turned(ray, cos, sin), 0.1015 * scale, 0.207 * scale)
        normal = _turned(normal, cos, -sin)
    elif shape == "cylinder":
        radius, height = 0.1075 * scale, 0.220 * scale
        t, normal = _nearest(_tube(start, ray, radius, 0.0, height), _disc(start, ray, radius, height))
    elif shape == "sphere":
        t, normal = _ball(start, ray, 0.123 * scale, 0.123 * scale)
    else:
        radius, height = 0.093 * scale, 0.381 * scale
        ends = _nearest(_ball(start, ray, radius, radius), _ball(start, ray, radius, height - radius))
        t, normal = _nearest(_tube(start, ray, radius, radius, height - radius), ends)
    return np.where(t < _FAR, _lit(_at(start, ray, t), normal, 0.3, 0.65), 0.0)


def _pixels(samples: Floats) -> npt.NDArray[np.uint8]:
    """Return the means [64, 64] of the four samples of each pixel, rounded to 0..255."""
    total = samples[0::2, 0::2] + samples[0::2, 1::2] + samples[1::2, 0::2] + samples[1::2, 1::2]
    return np.floor(total * (255.0 / 4.0) + 0.5).astype(np.uint8)


def render_orientation(orientation: int) -> npt.NDArray[np.uint8]:
    """Return masks [8, 4, 4, 64, 64] (scale, shape, mask, row, column) of one of the 15 orientations."""
    step = orientation - 7
    # An orientation of -30 .. 30 degrees moves the camera round the object to azimuth -orientation.
    cos, sin = _COS[abs(step)], (_SIN[abs(step)] if step > 0 else -_SIN[abs(step)])
    room = _room(cos, sin)
    masks = np.empty((len(SCALES), len(SHAPES), 4, SIDE, SIDE), dtype=np.uint8)
    for i, scale in enumerate(SCALES):
        for j, shape in enumerate(SHAPES):
            lit = _object(shape, scale, cos, sin)
            floor, wall, sky = (_pixels(np.where(lit > 0.0, 0.0, part)) for part in room)
            masks[i, j] = floor, wall, _pixels(lit), sky
    return masks


def render() -> npt.NDArray[np.uint8]:
    """Return all masks [480, 4, 64, 64], the cases in grid order, the masks floor, walls, object, sky."""
    masks = np.stack([render_orientation(k) for k in range(15)], axis=2)
    return np.ascontiguousarray(masks.reshape(CASES, 4, SIDE, SIDE))
