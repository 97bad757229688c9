"""Compiled loops of ``_trees`` that grow regression trees on gradients.

Every function changes only the output arrays it is given, releases the interpreter lock, and works on whole trees, so
that no bit of the result depends on the number of threads or on which thread grows which tree. Functions that call one
another are all in this file, because numba's cache only notices changes in the caller's file.

Axes here: n rows, d latents, t columns (a column is the sequence of trees of one class of one factor; a factor with two
classes has one column, a factor with a single class none), s stages. Nodes of a tree are numbered like a heap: 0 is the
root, 2i+1 and 2i+2 are the left and right children of i, 7..14 are the leaves at depth 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.jit import njit

STAGES = 100
LEARNING_RATE = 0.1
INNER = 7  # nodes that may split: depths 0, 1 and 2
EPSILON = np.finfo(np.float64).eps  # a node with at most this impurity is a leaf
GAP = np.float32(1e-7)  # scikit-learn's splitter treats values no further apart as equal
TIE = 1.0 - 1e-12  # splits whose improvements agree this closely differ only by rounding

_jit = njit(nogil=True, error_model="numpy")


@_jit
def _hash(seed: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a pseudo-random uint64 that depends on all four numbers (splitmix64's finaliser, applied in turn)."""
    z = np.uint64(seed)
    for word in (np.uint64(a), np.uint64(b), np.uint64(c)):
        z = (z ^ word) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return z


@_jit
def _pick(best: Any, seed: Any, stage: int, column: int, node: int) -> int:
    """Return the latent with the best split, -1 if none has one; a hash breaks ties, with equal chances for each."""
    top = -1.0
    for f in range(len(best)):
        top = max(top, best[f])
    if top < 0.0:
        return -1
    winner = -1
    highest = np.uint64(0)
    for f in range(len(best)):
        if best[f] >= top * TIE:
            key = _hash(seed, stage * 8 + node, column, f)
            if winner < 0 or key > highest:
                winner, highest = f, key
    return winner


@_jit
def _scan_bins(hist: Any, starts: Any, values: Any, total: float, m: float, best: Any, cut: Any) -> None:
    """Write each latent's best split of a node, by its histogram [bins, (sum, count)], to ``best`` and ``cut``."""
    for f in range(len(starts) - 1):
        top, where = -1.0, 0.0
        left, count = 0.0, 0.0
        previous = -1
        for b in range(starts[f], starts[f + 1]):
            here = hist[b, 1]
            if here == 0.0:
                continue
            if previous >= 0 and values[b] > values[previous] + GAP:
                right = total - left
                proxy = left * left / count + right * right / (m - count)
                if proxy > top:
                    top = proxy
                    where = values[previous] / 2.0 + values[b] / 2.0
            left += hist[b, 0]
            count += here
            previous = b
        best[f], cut[f] = top, where


@_jit
def _scan_sorted(
    order: Any, gradient: Any, x: Any, inverse: Any, low: int, high: int, total: float, best: Any, cut: Any
) -> None:
    """Do what ``_scan_bins`` does with rows low..high of each latent's sorted list ``order`` [d, n].

    ``inverse`` is 1/count.
    """
    m = high - low
    for f in range(len(order)):
        top, where = -1.0, 0.0
        left = 0.0
        for i in range(m - 1):
            left += gradient[order[f, low + i]]
            right = total - left
            proxy = left * left * inverse[i + 1] + right * right * inverse[m - 1 - i]
            if proxy > top:
                before = x[f, order[f, low + i]]
                after = x[f, order[f, low + i + 1]]
                if after > before + GAP:
                    top = proxy
                    where = before / 2.0 + after / 2.0
        best[f], cut[f] = top, where


@_jit
def _add_rows(hist: Any, bins: Any, gradient: Any, rows: Any) -> None:
    """Fill the histogram of some rows; ``bins`` [n, d] holds the bin of each row and latent."""
    hist[:] = 0.0
    for r in rows:
        g = gradient[r]
        for f in range(bins.shape[1]):
            b = bins[r, f]
            hist[b, 0] += g
            hist[b, 1] += 1.0


@_jit
def _subtract(hist: Any, other: Any) -> None:
    for i in range(len(hist)):
        hist[i, 0] -= other[i, 0]
        hist[i, 1] -= other[i, 1]


@_jit
def _split_sorted(order: Any, side: Any, low: int, middle: int, high: int, to: Any) -> None:
    """Move rows low..high of each latent's list to two sorted lists, at low.. and middle.., by ``side`` [n]."""
    for f in range(len(order)):
        left, right = low, middle
        for i in range(low, high):
            r = order[f, i]
            s = int(side[r])
            position = left + s * (right - left)  # without a branch: for most latents ``side`` is unpredictable
            to[f, position] = r
            left += 1 - s
            right += s


@_jit
def _split_rows(rows: Any, spare: Any, x: Any, threshold: float, side: Any, low: int, high: int) -> int:
    """Order rows low..high into left and right ones, set their ``side``, and return where the right ones begin."""
    left, right = low, 0
    for i in range(low, high):
        r = rows[i]
        s = int(x[r] > threshold)
        side[r] = s
        rows[left] = r
        spare[right] = r
        left += 1 - s
        right += s
    rows[left:high] = spare[:right]
    return left


@_jit
def _moments(gradient: Any, rows: Any) -> tuple[float, float]:
    total, squares = 0.0, 0.0
    for r in rows:
        total += gradient[r]
        squares += gradient[r] * gradient[r]
    return total, squares


@_jit
def _impurity(total: float, squares: float, m: int) -> float:
    return squares / m - (total / m) ** 2


@_jit
def _grow(
    data: Any, work: Any, gradient: Any, seed: Any, stage: int, column: int, feature: Any, threshold: Any, gain: Any
) -> None:
    """Grow one tree: fills ``feature`` and ``threshold`` [7] (-1: a leaf), ``work.bounds`` and ``gain`` [d]."""
    x, order, inverse, bins, starts, values = data
    rows, spare, side, bounds, hist, lists, best, cut = work
    n = x.shape[1]
    binned = bins.shape[0] > 0
    total, squares, impurity = np.empty(15), np.empty(15), np.empty(15)
    slot = np.zeros(15, np.int64)
    for i in range(n):
        rows[i] = i
    bounds[:] = 0
    bounds[0, 1] = n
    total[0], squares[0] = _moments(gradient, rows)
    impurity[0] = _impurity(total[0], squares[0], n)
    feature[:] = -1
    used = 1
    for node in range(INNER):
        low, high = bounds[node, 0], bounds[node, 1]
        m = high - low
        if m < 2 or impurity[node] <= EPSILON:
            continue
        level = 0 if node == 0 else (1 if node < 3 else 2)
        if binned:
            if node == 0:
                _add_rows(hist[0], bins, gradient, rows)
            _scan_bins(hist[slot[node]], starts, values, total[node], m, best, cut)
        elif level == 0:
            _scan_sorted(order, gradient, x, inverse, low, high, total[node], best, cut)
        else:
            _scan_sorted(lists[level - 1], gradient, x, inverse, low, high, total[node], best, cut)
        f = _pick(best, seed, stage, column, node)
        if f < 0:
            continue
        feature[node], threshold[node] = f, cut[f]
        middle = _split_rows(rows, spare, x[f], cut[f], side, low, high)
        a, b = 2 * node + 1, 2 * node + 2
        bounds[a, 0], bounds[a, 1], bounds[b, 0], bounds[b, 1] = low, middle, middle, high
        total[a], squares[a] = _moments(gradient, rows[low:middle])
        total[b], squares[b] = total[node] - total[a], squares[node] - squares[a]
        impurity[a] = _impurity(total[a], squares[a], middle - low)
        impurity[b] = _impurity(total[b], squares[b], high - middle)
        gain[f] += (m * impurity[node] - (middle - low) * impurity[a] - (high - middle) * impurity[b]) / n
        if level == 2:
            continue
        if binned:
            # Only the smaller child's rows are read: the larger one's histogram is the parent's minus the smaller's.
            small, large = (a, b) if middle - low <= high - middle else (b, a)
            slot[large], slot[small] = slot[node], used
            used += 1
            _add_rows(hist[slot[small]], bins, gradient, rows[bounds[small, 0] : bounds[small, 1]])
            _subtract(hist[slot[large]], hist[slot[small]])
        elif level == 0:
            _split_sorted(order, side, low, middle, high, lists[0])
        else:
            _split_sorted(lists[0], side, low, middle, high, lists[1])


@_jit
def _leaves(
    gradient: Any, labels: Any, one: int, scale: float, rows: Any, bounds: Any, feature: Any, value: Any, raw: Any
) -> None:
    """Write one Newton step per leaf, times the learning rate, to ``value`` [8] and add it to ``raw`` [n].

    The value of a leaf above depth 3 is written where the left-most path below it ends.
    """
    for node in range(15):
        low, high = bounds[node, 0], bounds[node, 1]
        if low == high or (node < INNER and feature[node] >= 0):
            continue
        top, bottom = 0.0, 0.0
        for r in rows[low:high]:
            g = gradient[r]
            p = (1.0 if labels[r] == one else 0.0) - g
            top += g
            bottom += p * (1.0 - p)
        m = high - low
        top, bottom = top / m * scale, bottom / m
        step = 0.0 if abs(bottom) < 1e-150 else LEARNING_RATE * (top / bottom)
        for r in rows[low:high]:
            raw[r] += step
        end = node
        while end < INNER:
            end = 2 * end + 1
        value[end - INNER] = step


@_jit
def grow_columns(
    data: Any,
    work: Any,
    gradient: Any,
    labels: Any,
    columns: Any,
    seed: Any,
    stage: int,
    first: int,
    step: int,
    trees: Any,
    gain: Any,
    raw: Any,
) -> None:
    """Grow this stage's trees of columns first, first + step, ...; ``columns`` [t, 3] is (factor, class, classes).

    Writes the trees (feature, threshold [t, s, 7], value [t, s, 8]), adds each split's improvement to ``gain``
    [t, d] and the leaves' steps to ``raw`` [t, n].
    """
    feature, threshold, value = trees
    for t in range(first, len(columns), step):
        factor, one, classes = columns[t]
        scale = 1.0 if classes == 2 else (classes - 1) / classes
        _grow(data, work, gradient[t], seed, stage, t, feature[t, stage], threshold[t, stage], gain[t])
        rows, bounds = work[0], work[3]
        _leaves(gradient[t], labels[factor], one, scale, rows, bounds, feature[t, stage], value[t, stage], raw[t])
