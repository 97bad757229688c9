"""Entropy and mutual information of codes and factors, in nats.

There are two estimators: plug-in for discrete variables, and nearest neighbours for a continuous code and a discrete
factor (Ross 2014, "Mutual information between discrete and continuous data sets", equation 2, as computed by
scikit-learn's ``mutual_info_classif``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

EPSILON = float(np.finfo(np.float64).eps)
"""Information in nats below this is a rounding error and counts as none."""


def relabel(columns: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Number each column's distinct values 0, 1, 2, ... in sorted order; [n, c] in and out."""
    labels = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns.T]
    return np.stack(labels, axis=1).astype(np.int64)


def entropy(labels: npt.NDArray[np.int64]) -> float:
    """Return the plug-in entropy in nats of one variable's labels [n], integers from 0."""
    counts = np.bincount(labels)
    share = counts[counts > 0] / len(labels)
    return max(0.0, float(-(share * np.log(share)).sum()))


def plug_in_information(symbols: npt.NDArray[Any], factors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the plug-in mutual information [k, d] in nats of factors [n, k] and discrete codes [n, d].

    It is biased upwards by about (v - 1)(w - 1) / 2n for variables with v and w values (Miller 1955). It is exactly 0
    where there is no information, as for a constant: terms below machine epsilon are rounding errors and count as zero,
    as in the original.
    """
    codes, labels = relabel(symbols), relabel(factors)
    information = np.empty((labels.shape[1], codes.shape[1]))
    for i, label in enumerate(labels.T):
        for j, code in enumerate(codes.T):
            values = int(code.max()) + 1
            counts = np.bincount(label * values + code, minlength=(int(label.max()) + 1) * values)
            joint = counts.reshape(-1, values) / len(label)
            apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
            seen = joint > 0
            terms = joint[seen] * np.log(joint[seen] / apart[seen])
            information[i, j] = terms[np.abs(terms) >= EPSILON].sum()
    return np.where(information >= EPSILON, information, 0.0)


def histogram_symbols(values: npt.NDArray[Any], bins: int) -> npt.NDArray[np.int64]:
    """Return symbols 0..bins-1 for codes [n, d]: each latent's range is cut into ``bins`` intervals of equal width.

    The largest value falls into the last interval. This is the discretisation of Locatello et al. (2019).
    """
    columns = np.asarray(values, dtype=np.float64).T  # in small integer types, the width of a bin could overflow
    return np.stack([_histogram_symbols(column, bins) for column in columns], axis=1).astype(np.int64)


def _histogram_symbols(column: npt.NDArray[np.float64], bins: int) -> npt.NDArray[Any]:
    low, high = column.min(), column.max()
    if low == high:
        return np.zeros(len(column), dtype=np.int64)
    if (high - low) / bins <= 2 * np.spacing(
        max(abs(low), abs(high))
    ):  # no room for the bins' edges between the values
        column = column - low
    return np.asarray(np.digitize(column, np.histogram(column, bins)[1][:-1]) - 1)


def standardise(values: npt.NDArray[Any], fit_on: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return codes [n, d] standardised by mean and deviation of ``fit_on`` [m, d]; a constant column becomes zero."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(np.asarray(fit_on, dtype=np.float64))
    return np.asarray(scaler.transform(np.asarray(values, dtype=np.float64)))


def nearest_neighbour_information(
    values: npt.NDArray[np.float64], factors: npt.NDArray[Any], neighbours: int, rng: int
) -> npt.NDArray[np.float64]:
    """Return Ross's estimate [k, d] in nats, at least 0, of the information between factors [n, k] and codes [n, d].

    As in scikit-learn, each latent is scaled to unit variance, and normal noise of relative size 1e-10, seeded by
    ``rng``, is added to break ties. Every latent gets the same noise, as if each were estimated in a separate call. A
    constant latent has information 0. A factor value with fewer than ``neighbours`` + 1 rows uses as many neighbours as
    it has; rows whose value occurs only once are left out, and if no rows remain, the information is 0.
    """
    labels = relabel(factors)
    information = np.empty((labels.shape[1], values.shape[1]))
    for j, column in enumerate(values.T):
        if (column == column[0]).all():  # otherwise only the tie-breaking noise would be left
            information[:, j] = 0.0
            continue
        code = _scale_and_shake(column, rng)
        order = np.argsort(code, kind="stable")
        for i, label in enumerate(labels.T):
            information[i, j] = _ross(code[order], label[order], neighbours)
    return information


def _scale_and_shake(column: npt.NDArray[np.float64], rng: int) -> npt.NDArray[np.float64]:
    from sklearn.preprocessing import scale

    code = np.asarray(scale(column.astype(np.float64), with_mean=False))
    # scikit-learn draws from this old generator; using it too makes the results agree to the last bit.
    noise = np.random.RandomState(rng).standard_normal(len(code))
    return code + 1e-10 * max(1.0, float(np.abs(code).mean())) * noise


def _ross(code: npt.NDArray[np.float64], label: npt.NDArray[np.int64], neighbours: int) -> float:
    """Return the estimate for one latent and one factor, rows sorted by code."""
    from scipy.special import digamma

    size = np.bincount(label)
    radius = np.empty(len(code))
    for value in np.flatnonzero(size > 1):
        rows = label == value
        radius[rows] = _distance_to_neighbour(code[rows], min(neighbours, int(size[value]) - 1))
    kept = size[label] > 1
    if not kept.any():
        return 0.0
    code, radius, members = code[kept], np.nextafter(radius[kept], 0), size[label[kept]]
    used = np.minimum(neighbours, members - 1)
    estimate = (
        digamma(len(code))
        + digamma(used).mean()
        - digamma(members).mean()
        - digamma(_points_within(code, radius)).mean()
    )
    return max(0.0, float(estimate))


def _distance_to_neighbour(points: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
    """Return the distance from each of the sorted ``points`` to its k-th nearest other point.

    On a line, the k nearest points are j on the left and k - j on the right, for the best j.
    """
    n = len(points)
    padded = np.concatenate([np.full(k, -np.inf), points, np.full(k, np.inf)])
    best = np.full(n, np.inf)
    for left in range(k + 1):
        lower, upper = padded[k - left : k - left + n], padded[2 * k - left : 2 * k - left + n]
        np.minimum(best, np.maximum(points - lower, upper - points), out=best)
    return best


def _points_within(points: npt.NDArray[np.float64], radius: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return, for each of the sorted ``points``, how many lie within its ``radius`` [n], itself included."""
    n = len(points)
    first = np.searchsorted(points, points - radius, side="left")
    last = np.searchsorted(points, points + radius, side="right") - 1
    # points - radius is rounded, and the neighbour that defined the radius lies just beyond it, so decide by the
    # distance itself, which is what defines "within".
    while (wrong := points - points[first] > radius).any():
        first += wrong
    while (wrong := (first > 0) & (points - points[first - 1] <= radius)).any():
        first -= wrong
    while (wrong := points[last] - points > radius).any():
        last -= wrong
    while (wrong := (last < n - 1) & (points[np.minimum(last + 1, n - 1)] - points <= radius)).any():
        last += wrong
    return last - first + 1
