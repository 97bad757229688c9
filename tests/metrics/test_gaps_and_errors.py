"""MIG, modularity, SAP, MSE and latent statistics: plain oracles, degenerate cases, errors."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import latents, mig, modularity, mse, sap
from disentangle_bench.metrics._latents import score as score_latents
from disentangle_bench.metrics._mig import score as score_mig
from disentangle_bench.metrics._modularity import score as score_modularity
from disentangle_bench.metrics._mse import score as score_mse
from disentangle_bench.metrics._sap import score as score_sap

N = 300
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 4, (N, 3))
CODES = np.column_stack([FACTORS[:, 0] + 0.4 * RNG.normal(size=N), FACTORS[:, 1] + FACTORS[:, 0], RNG.normal(size=N)])


def _plain_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """[k, d] in nats, with the codes cut into 20 bins of equal width."""
    table = np.zeros((factors.shape[1], codes.shape[1]))
    for j in range(codes.shape[1]):
        low, high = codes[:, j].min(), codes[:, j].max()
        bins = np.minimum((20 * (codes[:, j] - low) / (high - low)).astype(int), 19)
        for i in range(factors.shape[1]):
            joint = np.histogram2d(factors[:, i], bins, bins=(np.arange(5), np.arange(21)))[0] / len(codes)
            product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
            table[i, j] = np.sum(joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0]))
    return table


def _entropy(column: np.ndarray) -> float:
    share = np.bincount(column) / len(column)
    return float(-np.sum(share[share > 0] * np.log(share[share > 0])))


def test_mig_by_the_book() -> None:
    result = mig(CODES, FACTORS)
    table = _plain_information(CODES, FACTORS)
    np.testing.assert_allclose(result["information"], table, atol=1e-12)
    gaps = [(np.sort(row)[-1] - np.sort(row)[-2]) / _entropy(FACTORS[:, i]) for i, row in enumerate(table)]
    assert result["score"] == pytest.approx(np.mean(gaps), abs=1e-12)
    assert result["gaps"] == pytest.approx(gaps)


def test_modularity_by_the_book() -> None:
    result = modularity(CODES, FACTORS)
    squares = _plain_information(CODES, FACTORS) ** 2
    scores = [1 - (sum(column) - max(column)) / (max(column) * 2) for column in squares.T]
    assert result["score"] == pytest.approx(np.mean(scores), abs=1e-12)


def test_sap_by_the_book() -> None:
    from sklearn.svm import LinearSVC

    result = sap(CODES, FACTORS, n_train=200)
    gaps = []
    for i in range(3):
        accuracy = []
        for j in range(3):
            machine = LinearSVC(C=0.01, class_weight="balanced").fit(CODES[:200, [j]], FACTORS[:200, i])
            accuracy.append(machine.score(CODES[200:, [j]], FACTORS[200:, i]))
        gaps.append(sorted(accuracy)[-1] - sorted(accuracy)[-2])
    assert result["score"] == pytest.approx(np.mean(gaps), abs=1e-12)
    assert result.notes == {}


def test_only_training_rows_are_read() -> None:
    for metric in (mig, modularity):
        assert metric(CODES, FACTORS, n_train=150)["score"] == metric(CODES[:150], FACTORS[:150])["score"]
    result = sap(CODES[:150], FACTORS[:150])
    assert result.notes == {"score": "fitted and scored on the same rows: there are no test rows"}


def test_one_latent_has_no_rival() -> None:
    assert mig(FACTORS[:, :1], FACTORS[:, :1])["score"] == pytest.approx(1.0)
    result = sap(CODES[:, :1], FACTORS, n_train=200)
    assert result["gaps"].tolist() == result["accuracy"][:, 0].tolist()


def test_constant_factors_are_left_out() -> None:
    constant = np.column_stack([FACTORS, np.full(N, 2)])
    for metric in (mig, sap):
        result = metric(CODES, constant, n_train=200)
        assert result["score"] == metric(CODES, FACTORS, n_train=200)["score"]
        assert result.notes["factors"] == "left out, constant over the training rows: 3"
        assert np.isnan(metric(CODES, constant[:, 3:], n_train=200)["score"])


def test_latents_that_know_nothing_are_not_modular() -> None:
    result = modularity(np.column_stack([FACTORS, np.ones(N)]), FACTORS)
    assert result["by_latent"][3] == 0.0
    assert result["by_latent"][:3].min() > 0.99
    one_factor_result = modularity(FACTORS, FACTORS[:, :1])
    assert np.isnan(one_factor_result["score"])
    assert one_factor_result.notes == {"score": "not defined: one factor, two are needed"}


@pytest.mark.parametrize("seed", range(5))
def test_a_constant_latent_is_not_modular_from_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, [10, 10, 10, 8, 4, 15], (10_000, 6))
    result = modularity(np.column_stack([np.full(10_000, 0.1), factors[:, 0]]), factors)
    assert result.by_latent[0] == 0.0
    assert result.score == pytest.approx(0.5, abs=1e-4)
    collapsed = np.full((10_000, 4), rng.normal())
    assert modularity(collapsed, factors).score == 0.0
    assert mig(collapsed, factors).score == 0.0


def test_mse_and_psnr() -> None:
    assert mse([0.01, 0.03]).scores == {"mse": pytest.approx(0.02), "psnr": pytest.approx(16.9897, abs=1e-4)}
    assert mse(np.zeros(3))["psnr"] == np.inf
    for errors, message in (([], r"shape \[0\]"), ([[0.1]], r"shape \[1, 1\]"), ([0.1, -1.0], "-1.0 at row 1")):
        with pytest.raises(BenchError, match=message):
            mse(errors)
    with pytest.raises(BenchError, match="nan at row 0"):
        mse([np.nan])
    evaluation = Evaluation(Codes(CODES), FACTORS, 200, np.linspace(0, 0.1, N))
    assert score_mse(evaluation, variant="heldout", rng=0).scores["mse"] == pytest.approx(0.05)
    without = score_mse(Evaluation(Codes(CODES), FACTORS, 200), variant="heldout", rng=0)
    assert all(np.isnan(value) for value in without.scores.values())
    assert set(without.notes) == {"mse", "psnr"}


def test_active_latents_and_perplexity() -> None:
    symbols = np.column_stack([np.arange(N) % 4, np.zeros(N, int), np.arange(N) % 2 * 5])
    symbol_result = latents(symbols, discrete=True)
    assert symbol_result["active_latents"].tolist() == [True, False, True]
    assert symbol_result["perplexities"] == pytest.approx([4.0, 1.0, 2.0])
    assert (symbol_result["active"], symbol_result["perplexity"]) == (2.0, pytest.approx(7 / 3))
    continuous_result = latents(CODES * [1, 0.01, 1e-3], discrete=False)
    assert continuous_result["active_latents"].tolist() == [True, False, False]
    assert np.isnan(continuous_result["perplexity"])
    evaluation_result = score_latents(Evaluation(Codes(CODES), FACTORS, 200), variant="hsu2023", rng=0)
    assert evaluation_result.notes == {"perplexity": "not defined: continuous codes have no symbols"}


def test_tripod_activity_is_the_interquartile_range() -> None:
    grid = np.linspace(-1, 1, 21)[np.random.default_rng(0).integers(0, 21, (N, 3))]
    grid[:, 1] = np.where(np.arange(N) % 10 == 0, 1.0, -1.0)  # full range, no interquartile range
    grid[:, 2] *= 0.09  # interquartile range of about 0.09
    codes = Codes(grid, (grid * 1000).astype(int))
    assert latents(codes, variant="tripod2024")["active_latents"].tolist() == [True, False, False]
    assert latents(codes, variant="hsu2023")["active_latents"].tolist() == [True, True, True]
    assert latents(grid, discrete=False, variant="tripod2024")["active_latents"].tolist() == [True, False, False]
    # Bare symbols stand on a grid from -1 to 1: one of 60 steps does not count, ten do.
    symbols = np.column_stack([np.arange(N) % 61, np.arange(N) % 2, np.arange(N) % 21])
    assert latents(symbols, discrete=True, variant="tripod2024")["active_latents"].tolist() == [True, False, True]


def test_scores_read_values_of_discrete_codes() -> None:
    codes = Codes(CODES, np.zeros_like(FACTORS))
    evaluation = Evaluation(codes, FACTORS, 200)
    for score, metric in ((score_mig, mig), (score_modularity, modularity), (score_sap, sap)):
        result = score(evaluation, variant="locatello2019", rng=0)
        assert result.scores == {"score": metric(CODES, FACTORS, n_train=200)["score"]}
