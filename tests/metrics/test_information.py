"""Entropy and information against slow, plain oracles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma

from disentangle_bench.metrics._information import (
    entropy,
    histogram_symbols,
    nearest_neighbour_information,
    plug_in_information,
    standardise,
)


def _plain_information(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for x in set(a.tolist()):
        for y in set(b.tolist()):
            joint = np.mean((a == x) & (b == y))
            if joint > 0:
                total += joint * np.log(joint / (np.mean(a == x) * np.mean(b == y)))
    return total


def _plain_ross(code: np.ndarray, label: np.ndarray, neighbours: int) -> float:
    """Ross 2014, equation 2, from all pairs of points."""
    distance = np.abs(code[:, None] - code[None, :])
    has_neighbours = np.bincount(label)[label] > 1
    terms = []
    for i in range(len(code)):
        others = np.flatnonzero((label == label[i]) & (np.arange(len(code)) != i))
        if len(others) == 0:
            continue
        k = min(neighbours, len(others))
        radius = np.sort(distance[i, others])[k - 1]
        within = np.sum(distance[i, has_neighbours] < radius)  # the point itself included, the k-th neighbour not
        terms.append(digamma(np.sum(has_neighbours)) + digamma(k) - digamma(len(others) + 1) - digamma(within))
    return max(0.0, float(np.mean(terms))) if terms else 0.0


def test_entropy_of_known_distributions() -> None:
    assert entropy(np.array([0, 1, 2, 3])) == pytest.approx(np.log(4))
    assert entropy(np.array([0, 0, 0, 1])) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert entropy(np.array([5, 5])) == 0.0


def test_plug_in_information_of_every_pair() -> None:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (200, 2))
    codes = np.column_stack([factors[:, 0] * 3 - 7, rng.integers(0, 6, 200), np.zeros(200), factors.sum(axis=1) % 3])
    information = plug_in_information(codes, factors)
    assert information.shape == (2, 4)
    for i in range(2):
        for j in range(4):
            assert information[i, j] == pytest.approx(_plain_information(factors[:, i], codes[:, j]), abs=1e-12)
    assert information[0, 0] == pytest.approx(entropy(factors[:, 0]))
    assert information[0, 2] == 0.0


@pytest.mark.parametrize("neighbours", [1, 3, 10])
def test_nearest_neighbour_information_is_ross_by_the_book(neighbours: int) -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 8, 120)
    label[:3] = [20, 21, 22]  # values that occur once
    label[3:5] = 30  # and one that has a single neighbour
    codes = np.column_stack([label + rng.normal(size=120), rng.normal(size=120)])
    scaled = standardise(codes, codes)
    information = nearest_neighbour_information(scaled, label[:, None], neighbours, 0)
    for j in range(2):
        assert information[0, j] == pytest.approx(_plain_ross(scaled[:, j], label, neighbours), abs=1e-6)


@pytest.mark.parametrize("neighbours", [3, 10])
@pytest.mark.parametrize("grid", [False, True])
def test_nearest_neighbour_information_is_scikit_learns(neighbours: int, grid: bool) -> None:
    from sklearn.feature_selection import mutual_info_classif

    rng = np.random.default_rng(2)
    label = rng.integers(0, 9, 600)
    code = 0.5 * label + rng.normal(size=600)
    scaled = standardise(np.round(code)[:, None] if grid else code[:, None], code[:, None])  # a grid has ties
    expected = mutual_info_classif(scaled, label, discrete_features=False, n_neighbors=neighbours, random_state=7)
    information = nearest_neighbour_information(scaled, label[:, None], neighbours, 7)
    assert information[0, 0] == pytest.approx(expected[0], abs=1e-12)
    assert information[0, 0] > 0.3


def test_small_classes_stay_near_scikit_learn() -> None:
    # Where a class has at most twice as many rows as neighbours, scikit-learn measures distances by expanding the
    # square, and rounding then decides whether the k-th neighbour counts as within its own distance.
    from sklearn.feature_selection import mutual_info_classif

    rng = np.random.default_rng(3)
    label = rng.integers(0, 50, 700)
    code = label + rng.normal(size=700)
    scaled = standardise(code[:, None], code[:, None])
    expected = mutual_info_classif(scaled, label, discrete_features=False, n_neighbors=10, random_state=0)[0]
    information = nearest_neighbour_information(scaled, label[:, None], 10, 0)[0, 0]
    assert abs(information - expected) / np.log(50) < 0.005
    assert information == pytest.approx(_plain_ross(scaled[:, 0], label, 10), abs=1e-6)


def test_no_two_rows_share_a_value() -> None:
    assert nearest_neighbour_information(np.arange(5.0)[:, None], np.arange(5)[:, None], 3, 0)[0, 0] == 0.0


def test_histogram_symbols_are_equal_widths_with_both_ends() -> None:
    symbols = histogram_symbols(np.array([[0.0, 5.0], [0.49, 5.0], [0.5, 5.0], [9.99, 5.0], [10.0, 5.0]]), 20)
    assert symbols[:, 0].tolist() == [0, 0, 1, 19, 19]
    assert len(set(symbols[:, 1].tolist())) == 1


def test_standardise_uses_the_rows_it_is_fitted_on() -> None:
    values = np.array([[0.0, 3.0], [2.0, 3.0], [100.0, 4.0]])
    assert standardise(values, values[:2]).tolist() == [[-1.0, 0.0], [1.0, 0.0], [99.0, 1.0]]


def test_a_constant_has_no_information_exactly() -> None:
    factors = np.random.default_rng(0).integers(0, [10, 10, 10, 8, 4, 15], (10_000, 6))
    codes = np.column_stack([np.zeros(10_000, int), factors[:, 0]])
    assert plug_in_information(codes, factors)[:, 0].tolist() == [0.0] * 6
    constant = np.full((500, 1), 0.1)
    assert nearest_neighbour_information(constant, factors[:500], 3, 0).tolist() == [[0.0]] * 6
