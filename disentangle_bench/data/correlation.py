"""Correlate pairs of factors in the training images, by weights for how often each image is drawn.

A pair weights an image by exp(-(a - b)^2 / (2 sigma^2)), where a and b are its two factors, scaled to [0, 1]; the other
factors stay uniform (Träuble et al. 2021, arXiv 2006.07886). Sets have the names of Roth et al. 2023 (arXiv 2210.07347;
released code 3b0d233). A second number in a name is the width if it is not the usual one: 04 is 0.4, 004 is 0.04.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card
from disentangle_bench.errors import BenchError, unknown

NONE = "none"
"""The name of the correlation of independent factors."""

SCALE = 2**30
"""Weight of the most frequent images. Weights are whole numbers, so that draws are the same on all machines."""


class Pair(NamedTuple):
    """Two correlated factors; the smaller ``sigma``, the stronger their correlation."""

    first: str
    second: str
    sigma: float


_ROOMS = {
    "single_1": (("floor_hue", "wall_hue"),),
    "single_2": (("shape", "scale"),),
    "single_3": (("shape", "wall_hue"),),
    "double_1": (("scale", "floor_hue"), ("shape", "wall_hue")),
    "double_2": (("scale", "shape"), ("floor_hue", "wall_hue")),
    "triple_1": (("scale", "orientation"), ("shape", "wall_hue"), ("object_hue", "floor_hue")),
    "triple_2": (("object_hue", "orientation"), ("shape", "scale"), ("floor_hue", "wall_hue")),
    "conf_1": (("shape", ""),),
    "conf_2": (("wall_hue", ""),),
}
_MPI3D = {
    "single_1": (("camera_height", "background_color"),),
    "single_2": (("object_color", "object_size"),),
    "single_3": (("horizontal_axis", "vertical_axis"),),
    "double_1": (("object_color", "object_shape"), ("horizontal_axis", "vertical_axis")),
    "double_2": (("object_color", "horizontal_axis"), ("object_shape", "vertical_axis")),
    "triple_1": (
        ("object_color", "background_color"),
        ("camera_height", "horizontal_axis"),
        ("object_shape", "vertical_axis"),
    ),
    "triple_2": (
        ("object_color", "object_shape"),
        ("horizontal_axis", "vertical_axis"),
        ("background_color", "camera_height"),
    ),
    "conf_1": (("object_shape", ""),),
    "conf_2": (("horizontal_axis", ""),),
}
_DSPRITES = {
    "single_1": (("shape", "scale"),),
    "single_2": (("pos_x", "pos_y"),),
    "single_3": (("shape", "pos_y"),),
    "double_1": (("shape", "pos_x"), ("scale", "pos_y")),
    "double_2": (("shape", "scale"), ("pos_x", "pos_y")),
    "conf_1": (("shape", ""),),
    "conf_2": (("pos_x", ""),),
}
SETS = {
    ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"): _ROOMS,
    (
        "object_color",
        "object_shape",
        "object_size",
        "camera_height",
        "background_color",
        "horizontal_axis",
        "vertical_axis",
    ): _MPI3D,
    ("shape", "scale", "orientation", "pos_x", "pos_y"): _DSPRITES,
}
"""Named sets of pairs of factors, by the factors of the datasets that have them; "" stands for every other factor."""

WIDTHS = {"double_1_04": 0.4, "double_1_004": 0.04, "double_2_04": 0.4, "double_2_004": 0.04}
NAMES = (*_ROOMS, *WIDTHS)
"""Names of all sets."""


def named_sets(factor_names: Sequence[str]) -> dict[str, tuple[Pair, ...]]:
    """Return the named sets of a dataset with these factors; empty if it has none."""
    rows = next((rows for names, rows in SETS.items() if set(names) == set(factor_names)), {})
    widths = {name: 0.2 if name.startswith("conf") else 0.1 for name in rows} | WIDTHS
    sets = {}
    for name, sigma in widths.items():
        base = name.rpartition("_")[0] if name in WIDTHS else name
        if base in rows:
            sets[name] = tuple(
                Pair(first, other, sigma)
                for first, second in rows[base]
                for other in ([second] if second else [factor for factor in factor_names if factor != first])
            )
    return sets


def pairs(correlation: str, card: Card) -> tuple[Pair, ...]:
    """Return the pairs of a named set, or pairs written as ``FACTOR:FACTOR:SIGMA``, with ``+`` between them.

    Raises ``BenchError`` for a set that the dataset does not have, and for pairs that cannot be parsed.
    """
    if correlation == NONE:
        return ()
    sets = named_sets(card.factor_names)
    if correlation in sets:
        return sets[correlation]
    if ":" not in correlation:
        if sets:
            raise unknown(f"correlation of {card.name}", correlation, [NONE, *sets])
        raise BenchError(
            f"{card.name} has no named correlations: write pairs of its factors and their width, such as "
            f"data.correlation={':'.join((card.factor_names * 2)[:2])}:0.1"
        )
    return tuple(_pair(text.strip(), card) for text in correlation.split("+"))


def _pair(text: str, card: Card) -> Pair:
    parts = text.split(":")
    for name in parts[:-1]:
        if name not in card.factor_names:
            raise unknown(f"factor of {card.name}", name, card.factor_names)
    try:
        sigma = float(parts[-1])
    except ValueError:
        sigma = math.nan
    if len(parts) != 3 or parts[0] == parts[1] or not 0 < sigma < math.inf:
        raise BenchError(f"data.correlation takes pairs FACTOR:FACTOR:SIGMA with + between them, not {text[:100]!r}")
    return Pair(parts[0], parts[1], sigma)


def weights(correlation: str, card: Card, factors: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the weights [n] in proportion to which images with the factor values ``factors`` [n, k] are drawn."""
    exponents = np.zeros(len(factors))
    column = {name: factors[:, i] / max(1, card.factor_sizes[i] - 1) for i, name in enumerate(card.factor_names)}
    for first, second, sigma in pairs(correlation, card):
        exponents -= (column[first] - column[second]) ** 2 / (2 * sigma**2)
    return np.rint(SCALE * np.exp(exponents - exponents.max())).astype(np.int64)


def strength(correlation: str, card: Card) -> float:
    """Return the total correlation of the factors over the full grid, in nats; 0 if they are independent."""
    names = {name for pair in pairs(correlation, card) for name in pair[:2]}
    sizes = [size if name in names else 1 for name, size in zip(card.factor_names, card.factor_sizes, strict=True)]
    grid = np.indices(sizes).reshape(len(sizes), -1).T
    table = weights(correlation, card, grid).reshape(sizes).astype(np.float64)
    axes = range(len(sizes))
    marginals = [table.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    return sum(_entropy(marginal) for marginal in marginals) - _entropy(table)


def _entropy(counts: npt.NDArray[np.float64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())
