"""FactorVAE and beta-VAE scores, and the batches of stored rows that they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import beta_vae_score, factor_vae_score
from disentangle_bench.metrics._beta_vae_score import score as score_beta_vae
from disentangle_bench.metrics._factor_vae_score import score as score_factor_vae
from disentangle_bench.metrics._fixed_factor import FixedFactorRows

N = 900
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 5, (N, 3))
METRICS = [factor_vae_score, beta_vae_score]


def test_batches_share_the_fixed_value_and_cover_its_rows() -> None:
    factors = np.array([[0], [1], [0], [1], [2], [0]])
    drawn_rows = FixedFactorRows(factors).same_value(0, 500, 8, np.random.default_rng(0))
    values = factors[drawn_rows, 0]
    assert (values == values[:, :1]).all()
    assert set(drawn_rows.ravel().tolist()) == {0, 1, 2, 3, 5}  # row 4 has a value of its own
    share = np.mean(values[:, 0] == 0)
    assert abs(share - 3 / 5) < 0.08  # a value is as frequent as its rows
    rows, counts = np.unique(drawn_rows[values[:, 0] == 0], return_counts=True)
    assert rows.tolist() == [0, 2, 5]
    assert counts.min() / counts.max() > 0.85


def test_pairs_are_different_rows_of_one_value() -> None:
    column = RNG.integers(0, 7, (50, 1))
    first, second = FixedFactorRows(column).pairs(0, 300, 4, np.random.default_rng(0))
    assert (first != second).all()
    assert (column[first] == column[second]).all()
    assert len(np.unique(second)) == len(np.unique(first)) == 50


@pytest.mark.parametrize("metric", METRICS)
def test_identity_codes_are_perfect_and_noise_is_chance(metric) -> None:  # type: ignore[no-untyped-def]
    assert metric(FACTORS, FACTORS, n_train=600)["score"] > 0.99
    noise = metric(np.random.default_rng(1).normal(size=(N, 4)), FACTORS, n_train=600)
    assert abs(noise["score"] - 1 / 3) < 0.06
    assert noise.notes == {}


def test_factor_vae_votes_name_the_factor_of_each_latent() -> None:
    codes = np.column_stack([7.0 * FACTORS[:, 2], np.full(N, 0.1), 0.1 * FACTORS[:, 0], FACTORS[:, 1]])
    result = factor_vae_score(codes, FACTORS, n_train=600)
    assert result["votes"][[0, 2, 3]].argmax(axis=1).tolist() == [2, 0, 1]  # whatever the latents' scales
    assert result["votes"][1].sum() == 0
    assert result["votes"].sum() == 10_000
    assert result["votes"].sum(axis=0) == pytest.approx([10_000 / 3] * 3, rel=0.1)


def test_factor_vae_votes_do_not_depend_on_the_units_of_latents_that_count() -> None:
    codes = FACTORS + 2.5 * np.random.default_rng(4).normal(size=(N, 3))
    plain, scaled = (factor_vae_score(codes * unit, FACTORS, n_train=600) for unit in ([1, 1, 1], [64, 1, 2**-4]))
    assert 0.4 < plain["score"] < 0.995
    assert scaled["votes"].tolist() == plain["votes"].tolist()
    assert scaled["score"] == plain["score"]


@pytest.mark.parametrize("scale", [0.0, 0.01])
def test_factor_vae_score_without_a_latent_that_counts_is_zero_as_in_the_study(scale: float) -> None:
    result = factor_vae_score(0.1 + scale * FACTORS, FACTORS, n_train=600)
    assert result.score == 0.0
    assert result.notes == {"score": "0: no latent has a standard deviation of 0.05 or more"}


def test_latents_under_the_studys_threshold_cast_no_vote() -> None:
    codes = FACTORS / FACTORS[:600].std(axis=0, ddof=1)
    for deviation, votes in ((0.0501, True), (0.0499, False)):
        result = factor_vae_score(codes * [1, 1, deviation], FACTORS, n_train=600)
        assert result.votes[2].any() == votes
        assert result.score == pytest.approx(1.0 if votes else 2 / 3, abs=0.05)


def test_a_constant_latent_in_float64_takes_no_votes() -> None:
    """Its variance is 1e-33 from rounding, not 0."""
    constant = np.full((N, 1), 0.1)
    result = factor_vae_score(np.hstack([FACTORS, constant]), FACTORS, n_train=600)
    assert result.score > 0.99
    assert result.votes[3].sum() == 0


def test_beta_vae_points_are_smallest_where_the_factor_is_held() -> None:
    result = beta_vae_score(FACTORS, FACTORS, n_train=600)
    assert np.diag(result["mean_difference"]).tolist() == [0.0, 0.0, 0.0]
    other = result["mean_difference"][~np.eye(3, dtype=bool)]
    assert other == pytest.approx(np.full(6, 1.6), abs=0.15)  # mean distance of two draws of 0..4


@pytest.mark.parametrize("metric", METRICS)
def test_same_seed_same_score(metric) -> None:  # type: ignore[no-untyped-def]
    codes = FACTORS + 2.0 * np.random.default_rng(2).normal(size=(N, 3))
    first, second, other = (metric(codes, FACTORS, n_train=600, rng=seed) for seed in (1, 1, 2))
    assert first["score"] == second["score"]
    assert first["score"] != other["score"]
    assert abs(first["score"] - other["score"]) < 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_factors_that_cannot_be_held_are_left_out(metric) -> None:  # type: ignore[no-untyped-def]
    factors = np.column_stack([FACTORS, np.zeros(N, int), np.arange(N)])  # constant, and never twice the same
    result = metric(FACTORS, factors, n_train=600)
    assert result.notes == {"factors": "left out, too few rows share a value or constant: 3, 4"}
    assert result["score"] > 0.99
    with pytest.raises(BenchError, match="can hold 1 of 3 factors fixed; it needs two"):
        metric(FACTORS, factors[:, 2:], n_train=600)


@pytest.mark.parametrize("metric", METRICS)
def test_without_test_rows_the_same_serve_for_both(metric) -> None:  # type: ignore[no-untyped-def]
    result = metric(FACTORS, FACTORS)
    assert result.notes == {"score": "trained and tested on the same rows: there are no test rows"}


@pytest.mark.parametrize(("score", "metric"), [(score_factor_vae, factor_vae_score), (score_beta_vae, beta_vae_score)])
def test_score_reads_values(score, metric) -> None:  # type: ignore[no-untyped-def]
    evaluation = Evaluation(Codes(FACTORS * 1.0, np.zeros_like(FACTORS)), FACTORS, 600)
    result = score(evaluation, variant="locatello2019", rng=3)
    assert result.scores == {"score": metric(FACTORS, FACTORS, n_train=600, rng=3)["score"]}
