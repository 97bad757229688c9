"""Compute statistics over seeds, for many groups at once. No global random state.

A group is the values of one score of one model over seeds. Groups of one size are stacked as ``values`` [g, n]: g
groups of n seeds. Every result depends only on a group's values, not on their order or on other groups.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

Floats: TypeAlias = npt.NDArray[np.float64]

FEWEST = 3
"""Smallest number of seeds for a rank; groups with fewer seeds are marked and not ranked."""

LEVEL = 0.95
RESAMPLES = 10_000
RANK_RESAMPLES = 2_000
"""Number of resamples for intervals of ranks, which need fewer because they are whole numbers."""
EXACT_UP_TO = 5
"""Largest number of seeds whose n^n resamples are all listed instead of drawn: 5^5 = 3,125."""
SEED = 20_251_124

_CELLS = 4_000_000
"""Largest number of resampled means in memory at a time (32 MB)."""


def mean(values: Floats) -> Floats:
    """Return the mean [g] of each group. Equal values give exactly that value, unlike a plain sum divided by n."""
    return np.clip(values.mean(axis=1), values.min(axis=1), values.max(axis=1))


def std(values: Floats) -> Floats:
    """Return the standard deviation [g] with n - 1 in the denominator; NaN for groups of one."""
    n = values.shape[1]
    if n < 2:
        return np.full(len(values), np.nan)
    deviation = values - mean(values)[:, None]
    return np.sqrt((deviation**2).sum(axis=1) / (n - 1))


def iqm(values: Floats) -> Floats:
    """Return the interquartile mean [g]: the mean without floor(n / 4) values at each end (Agarwal et al. 2021)."""
    n = values.shape[1]
    cut = n // 4
    return mean(np.sort(values, axis=1)[:, cut : n - cut])


def tail(n: int, level: float = LEVEL) -> float:
    """Return the share of the resampled means that the interval leaves out at each end, for n >= 2 seeds.

    The plain percentile interval leaves out (1 - level) / 2. With few seeds it is too short, since resampling
    underestimates the standard error by sqrt((n - 1) / n) and uses no t quantile: at n = 10 it contains the true mean
    of normal scores in about 90 % of cases, not 95 %. The *expanded* percentile interval (Hesterberg 2015, "What
    teachers should know about the bootstrap", The American Statistician 69(4), section 5.3) moves the percentiles
    outwards by both factors: the share is Phi(-sqrt(n / (n - 1)) * t), where t is the (1 + level) / 2 quantile of
    Student's t with n - 1 degrees of freedom. It tends to (1 - level) / 2 as n grows.
    """
    quantile = special.stdtrit(n - 1, (1 + level) / 2)
    return float(special.ndtr(-math.sqrt(n / (n - 1)) * quantile))


@functools.lru_cache(maxsize=16)
def resamples(n: int) -> Floats:
    """Return how often each of n values occurs in each resample, as counts [b, n] whose rows sum to n.

    All groups of size n share these resamples: all n^n of them for n up to ``EXACT_UP_TO``, else ``RESAMPLES`` drawn
    from ``default_rng([SEED, n])``.
    """
    if n <= EXACT_UP_TO:
        draws = np.array(list(itertools.product(range(n), repeat=n)))
    else:
        draws = np.random.default_rng([SEED, n]).integers(0, n, size=(RESAMPLES, n))
    cells = draws + n * np.arange(len(draws))[:, None]
    return np.bincount(cells.ravel(), minlength=len(draws) * n).reshape(len(draws), n).astype(np.float64)


def interval(values: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the lower and upper ends, each [g], of the expanded percentile bootstrap interval of each group's mean.

    The ends are quantiles (linear interpolation) of the means of resamples drawn with replacement. ``tail`` says which
    quantiles and why, ``resamples`` how the resamples are drawn. Values are sorted first, so that the order of the
    seeds does not matter. Equal values give [x, x], and so does a single value, about which nothing else can be said.
    """
    n = values.shape[1]
    values = np.sort(values, axis=1)
    centre = mean(values)
    if n == 1:
        return centre, centre.copy()
    counts, share = resamples(n), tail(n, level)
    low, high = np.empty(len(values)), np.empty(len(values))
    step = max(1, _CELLS // len(counts))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        middle = centre[start : start + step, None]
        means = middle + (part - middle) @ counts.T / n
        # Rounding may put a mean slightly outside the extremes, and equal values must give [x, x].
        np.clip(means, part[:, :1], part[:, -1:], out=means)
        low[start : start + step], high[start : start + step] = np.quantile(means, [share, 1 - share], axis=1)
    return low, high


def probability_of_improvement(ours: npt.ArrayLike, theirs: npt.ArrayLike, higher_is_better: bool = True) -> float:
    """Return P(a run of ours is better than a run of theirs) + P(equal) / 2, over all pairs of seeds.

    ``ours`` [n] and ``theirs`` [m] are values of one score for two models; the result is Mann and Whitney's U / (n m),
    or NaN if either is empty.
    """
    x, y = np.asarray(ours, dtype=np.float64), np.sort(np.asarray(theirs, dtype=np.float64))
    if not x.size or not y.size:
        return math.nan
    below = np.searchsorted(y, x, side="left") + np.searchsorted(y, x, side="right")
    share = float(below.sum()) / (2 * x.size * y.size)
    return share if higher_is_better else 1 - share


def ranks(means: npt.ArrayLike, higher_is_better: bool = True) -> Floats:
    """Return the rank [g] of each mean; 1 is best. Equal means share the better rank (1, 2, 2, 4); NaN gives NaN."""
    return drawn_ranks(np.asarray(means, dtype=np.float64)[:, None], higher_is_better, "min")[:, 0]


@functools.lru_cache(maxsize=1024)
def stretch(n: int, level: float = LEVEL) -> float:
    """Return the factor by which ``tail`` widens a resample's deviation from the mean, for n >= 2 seeds."""
    quantile = special.stdtrit(n - 1, (1 + level) / 2) / special.ndtri((1 + level) / 2)
    return float(math.sqrt(n / (n - 1)) * quantile)


def resampled_means(values: npt.ArrayLike, stream: int) -> Floats:
    """Return the means [b] of ``RANK_RESAMPLES`` resamples of a group [n], with deviations widened by ``stretch``.

    For several groups [g, n], which are resampled alike, they are [g, b].

    ``stream`` chooses the resamples: groups with the same stream and n are resampled alike (several scores of the same
    seeds), groups with different streams independently (different models). Equal values give only that value.
    """
    x = np.asarray(values, dtype=np.float64)
    n = x.shape[-1]
    centre = mean(x.reshape(-1, n)).reshape(*x.shape[:-1], 1)
    counts = resamples(n)
    rows = np.random.default_rng([SEED, stream, n]).integers(len(counts), size=RANK_RESAMPLES)
    return np.asarray(centre + stretch(n) * ((x - centre) @ counts[rows].T) / n)


def drawn_ranks(draws: Floats, higher_is_better: bool, method: Literal["min", "average"]) -> Floats:
    """Return the ranks [g, b] of g models in each of b resamples, from their means [g, b]; ``method`` ranks ties."""
    import pandas as pd

    return pd.DataFrame(draws).rank(method=method, ascending=not higher_is_better).to_numpy(dtype=np.float64)


def rank_interval(drawn: Floats, rank: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the lowest and highest rank, each [g], in the middle ``level`` of the resamples' ranks [g, b].

    The interval always contains ``rank`` [g].
    """
    low = np.quantile(drawn, (1 - level) / 2, axis=1, method="lower")
    high = np.quantile(drawn, (1 + level) / 2, axis=1, method="higher")
    return np.minimum(low, rank), np.maximum(high, rank)
