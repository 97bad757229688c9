"""MCC: closed forms, invariances, and the bias that the cross-fit removes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import mcc

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, [4, 3, 6], (800, 3))
CODES = FACTORS[:, [2, 0, 1]] * [1.0, -3.0, 0.5] + 0.5 * RNG.normal(size=(800, 3))


@pytest.mark.parametrize(("variant", "oracle"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_correlations_are_scipys_and_the_matching_is_found(variant, oracle) -> None:
    result = mcc(CODES, FACTORS, variant=variant)
    expected = [[oracle(FACTORS[:, i], CODES[:, j])[0] for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(result.correlation, expected, atol=1e-12)
    pairs = [abs(expected[2][0]), abs(expected[0][1]), abs(expected[1][2])]
    assert result.matched_in_sample == pytest.approx(np.mean(pairs))
    assert result.matched == pytest.approx(result.matched_in_sample, abs=0.01)


def test_a_matching_is_one_to_one() -> None:
    """One latent that knows two factors is matched with one of them only."""
    codes = np.column_stack([FACTORS[:, 0], RNG.normal(size=800)])
    twins = np.column_stack([FACTORS[:, 0], FACTORS[:, 0]])
    assert mcc(codes, twins).matched == pytest.approx(0.5, abs=0.05)


def test_copies_score_one_whatever_their_order_sign_and_scale() -> None:
    for variant in ("pearson", "spearman"):
        result = mcc(FACTORS[:, [1, 2, 0]] * [-2.0, 1e30, 1e-200] + [5, 0, 0], FACTORS, variant=variant)
        assert {round(value, 9) for value in result.scores.values()} == {1.0}


def test_rising_maps_matter_to_pearson_only() -> None:
    real = RNG.normal(size=(800, 2))
    assert mcc(np.exp(3 * real), real, variant="spearman").matched == pytest.approx(1)
    assert mcc(np.exp(3 * real), real).matched < 0.8


def test_real_factors_and_coverage() -> None:
    real = RNG.normal(size=(800, 4))
    result = mcc(real[:, :1], real)
    assert (result.matched, result.coverage) == (pytest.approx(1), pytest.approx(0.25))
    with pytest.raises(BenchError, match="factors hold nan at row 3, column 1"):
        mcc(real, np.where(np.arange(3200).reshape(800, 4) == 13, np.nan, real))


def test_the_cross_fit_removes_the_inflation_of_many_latents() -> None:
    noise, factors = RNG.normal(size=(500, 300)), RNG.integers(0, 5, (500, 4))
    result = mcc(noise, factors)
    assert result.matched_in_sample > 0.12
    assert abs(result.matched) < 0.04


def test_constants_correlate_zero_exactly() -> None:
    codes = np.column_stack([np.full(800, 0.1), FACTORS[:, 0]])
    result = mcc(codes, np.column_stack([FACTORS[:, 0], np.full(800, 3)]))
    assert result.correlation[:, 0].tolist() == [0, 0]
    assert result.correlation[1].tolist() == [0, 0]
    assert result.matched == pytest.approx(0.5)
    assert mcc(np.full((800, 3), 0.1), FACTORS).scores == dict.fromkeys(result.scores, 0.0)


def test_refusals() -> None:
    with pytest.raises(BenchError, match="unknown variant of mcc 'kendall'"):
        mcc(CODES, FACTORS, variant="kendall")
    with pytest.raises(BenchError, match="there are 9 rows; mcc needs 10"):
        mcc(CODES[:9], FACTORS[:9])
