"""Each statistic against a slow, obvious one, or an example worked by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from disentangle_bench.report import statistics

FLOATS = st.floats(-1e6, 1e6, width=32)


def groups(n: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, st.tuples(st.integers(1, 4), st.just(n)), elements=FLOATS)


def slow_interval(values: list[float], level: float) -> tuple[float, float]:
    """One group, one resample after the other; the quantile interpolated by hand."""
    n, values = len(values), sorted(values)
    if n <= 5:
        draws = list(itertools.product(range(n), repeat=n))
    else:
        draws = np.random.default_rng([statistics.SEED, n]).integers(0, n, size=(10_000, n)).tolist()
    means = sorted(math.fsum(values[i] for i in draw) / n for draw in draws)
    half_width = stats.t.ppf((1 + level) / 2, n - 1) * math.sqrt(n / (n - 1))
    ends = []
    for share in (stats.norm.cdf(-half_width), stats.norm.sf(-half_width)):
        position = share * (len(means) - 1)
        below = math.floor(position)
        above = min(below + 1, len(means) - 1)
        ends.append(means[below] + (position - below) * (means[above] - means[below]))
    return ends[0], ends[1]


@pytest.mark.parametrize("n", [2, 3, 5, 6, 10])
def test_interval_equals_the_slow_one(n):
    values = np.random.default_rng(n).normal(size=(3, n))
    low, high = statistics.interval(values)
    for group, ends in zip(values, zip(low, high, strict=True), strict=True):
        assert ends == pytest.approx(slow_interval(group.tolist(), 0.95), abs=1e-12)


def test_interval_of_three_seeds_by_hand():
    # At n = 3 the tails are 7e-8, less than any of the 27 resamples: the interval runs from the lowest to the highest.
    low, high = statistics.interval(np.array([[0.2, 0.5, 0.9]]))
    assert (low[0], high[0]) == pytest.approx((0.2, 0.9), abs=1e-5)


def test_tail_by_hand():
    # n = 10: t_9(0.975) = 2.2622, times sqrt(10 / 9) = 2.3845, and Phi(-2.3845) = 0.00855.
    assert statistics.tail(10) == pytest.approx(0.00855, abs=1e-5)
    assert statistics.tail(100_000) == pytest.approx(0.025, abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 4, 7, 50])
@pytest.mark.parametrize("x", [0.1, 0.7, 1 / 3, 1e-7, -12345.678])
def test_equal_seeds_give_an_interval_of_one_point(n, x):
    values = np.full((2, n), x)
    low, high = statistics.interval(values)
    assert low.tolist() == high.tolist() == [x, x]
    assert statistics.mean(values).tolist() == statistics.iqm(values).tolist() == [x, x]
    if n > 1:
        assert statistics.std(values).tolist() == [0, 0]


@given(groups(7))
def test_interval_is_within_the_data_around_the_mean_and_ignores_order(values):
    low, high = statistics.interval(values)
    mean = statistics.mean(values)
    assert (values.min(axis=1) <= low).all()
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (high <= values.max(axis=1)).all()
    reversed_interval = statistics.interval(values[:, ::-1])
    np.testing.assert_array_equal(low, reversed_interval[0])
    np.testing.assert_array_equal(high, reversed_interval[1])


def test_interval_of_a_group_does_not_depend_on_its_neighbours(monkeypatch):
    values = np.random.default_rng(0).random((9, 8))
    intervals = np.array(statistics.interval(values))
    monkeypatch.setattr(statistics, "_CELLS", 1)  # one group at a time
    np.testing.assert_allclose(np.array(statistics.interval(values)), intervals, rtol=1e-13)


def test_global_random_state_is_neither_read_nor_changed():
    statistics.resamples.cache_clear()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = statistics.resamples(9).copy()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    statistics.resamples.cache_clear()
    np.testing.assert_array_equal(statistics.resamples(9), first)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 9])
def test_moments_equal_the_library(n):
    values = np.random.default_rng(n).normal(size=(4, n))
    np.testing.assert_allclose(statistics.mean(values), values.mean(axis=1))
    if n > 1:
        np.testing.assert_allclose(statistics.std(values), values.std(axis=1, ddof=1))
    else:
        assert np.isnan(statistics.std(values)).all()
    np.testing.assert_allclose(statistics.iqm(values), stats.trim_mean(values, 0.25, axis=1))


def test_iqm_by_hand():
    # Of eight values the two lowest and the two highest are cut: (3 + 4 + 5 + 7) / 4.
    assert statistics.iqm(np.array([[100.0, 3, 1, 4, 5, 7, -50, 9]])) == pytest.approx([4.75])
    # Of three none is cut.
    assert statistics.iqm(np.array([[1.0, 2, 6]])) == pytest.approx([3])


def test_probability_of_improvement_by_hand():
    # Pairs (1,2) no, (1,1) half, (3,2) yes, (3,1) yes: 2.5 of 4.
    assert statistics.probability_of_improvement([1, 3], [2, 1]) == 0.625
    assert statistics.probability_of_improvement([1, 3], [2, 1], higher_is_better=False) == 0.375
    assert math.isnan(statistics.probability_of_improvement([], [1]))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_probability_of_improvement_equals_all_pairs(ours, theirs):
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs]
    assert statistics.probability_of_improvement(ours, theirs) == pytest.approx(sum(pairs) / len(pairs))
    u = stats.mannwhitneyu(ours, theirs).statistic
    assert statistics.probability_of_improvement(ours, theirs) == pytest.approx(u / len(pairs))


def test_ranks_by_hand():
    np.testing.assert_array_equal(statistics.ranks([0.5, 0.9, 0.7, 0.7, np.nan]), [4, 1, 2, 2, np.nan])
    np.testing.assert_array_equal(statistics.ranks([0.5, 0.9, 0.7], higher_is_better=False), [1, 3, 2])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("draw", "mean", "lowest"),
    [
        (lambda rng: rng.normal(0.5, 0.1, (20_000, 10)), 0.5, 0.93),
        (lambda rng: rng.uniform(0, 1, (20_000, 10)), 0.5, 0.93),
        (lambda rng: rng.beta(2, 5, (20_000, 10)), 2 / 7, 0.93),
        (lambda rng: rng.beta(8, 2, (20_000, 10)), 0.8, 0.925),  # skewed: 93.5 %, as the documentation says
    ],
)
def test_coverage_of_ten_seeds_is_what_is_claimed(draw, mean, lowest):
    low, high = statistics.interval(draw(np.random.default_rng(3)))
    assert lowest <= ((low <= mean) & (high >= mean)).mean() <= 0.97
