"""Chance levels: what a metric gives for codes whose rows are permuted against the factors."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.metrics import infomec
from disentangle_bench.scoring.score import score

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, [4, 3, 5], size=(900, 3))
PERFECT = Evaluation(Codes(FACTORS * 1.0, FACTORS), FACTORS, 600, squared_error=np.full(900, 0.01))
ALL = {
    "dci": "locatello2019",
    "infomec": "heldout2026",
    "mig": "locatello2019",
    "modularity": "locatello2019",
    "sap": "locatello2019",
    "factor_vae_score": "locatello2019",
    "beta_vae_score": "locatello2019",
    "mse": "heldout",
    "latents": "hsu2023",
}


@pytest.fixture(scope="module")
def rows():
    return {f"{row['metric']}.{row['score']}": row for row in score(PERFECT, ALL).rows}


@pytest.mark.slow
def test_perfect_codes_are_far_above_chance(rows):
    for name, row in rows.items():
        if row["metric"] not in ("mse", "latents"):
            assert row["value"] > (0.4 if name == "sap.score" else 0.9), name
            assert row["chance"] < row["value"] - 0.1, name


@pytest.mark.slow
def test_the_levels_are_those_of_theory(rows):
    most_frequent = np.mean([np.bincount(column[:600]).max() / 600 for column in FACTORS.T])
    assert rows["dci.informativeness"]["chance"] == pytest.approx(np.mean(1 / np.array([4, 3, 5])), abs=0.06)
    assert rows["dci.informativeness"]["chance"] < most_frequent + 0.03
    assert rows["factor_vae_score.score"]["chance"] == pytest.approx(1 / 3, abs=0.06)
    assert rows["beta_vae_score.score"]["chance"] == pytest.approx(1 / 3, abs=0.06)
    for name in ("mig.score", "sap.score", "infomec.explicitness", "dci.disentanglement"):
        assert rows[name]["chance"] < 0.06, name
    # Of three factors' information that is all noise, the largest share is well above a third.
    assert 0.4 < rows["modularity.score"]["chance"] < 0.9


@pytest.mark.slow
def test_scores_without_factors_have_no_chance_level(rows):
    for name in ("mse.mse", "mse.psnr", "latents.active", "latents.perplexity"):
        assert rows[name]["chance"] is rows[name]["chance_spread"] is None


@pytest.mark.slow
def test_a_slow_metric_is_permuted_once_and_others_have_a_spread(rows):
    assert rows["dci.completeness"]["chance_spread"] is None
    assert rows["sap.score"]["chance_spread"] is None
    assert 0 < rows["infomec.modularity"]["chance_spread"] < 0.2


@pytest.mark.slow
def test_levels_are_the_same_every_time(rows):
    second_row = score(PERFECT, {"mig": "locatello2019"}).rows[0]
    assert (second_row["chance"], second_row["chance_spread"]) == (
        rows["mig.score"]["chance"],
        rows["mig.score"]["chance_spread"],
    )


@pytest.mark.parametrize(("symbols", "level"), [(10, 0.022), (64, 0.157)])
def test_in_sample_explicitness_of_noise_grows_with_the_codebook(symbols, level):
    """An over-fitted probe gains half a nat per free coefficient: 12 (v - 1)(c - 1) of them on 10,000 rows."""
    rng = np.random.default_rng(0)
    factor, noise = rng.integers(0, 10, (10_000, 1)), rng.integers(0, symbols, (10_000, 12))
    floor = infomec(noise, factor, discrete=True).explicitness
    assert floor == pytest.approx(12 * (symbols - 1) * 9 / (2 * 10_000 * np.log(10)), rel=0.08)
    assert floor == pytest.approx(level, abs=0.002)


def test_informative_codes_have_the_chance_level_of_noise():
    """The permutation takes away all that codes know, and nothing of what they look like."""
    rng = np.random.default_rng(0)
    factor = rng.integers(0, 10, (10_000, 1))
    codes = rng.integers(0, 10, (10_000, 12))
    codes[:, 0] = factor[:, 0]
    evaluation = Evaluation(Codes(codes * 1.0, codes), factor, 10_000)
    rows = {row["score"]: row for row in score(evaluation, {"infomec": "heldout2026"}).rows}
    assert rows["explicitness_in_sample"]["value"] > 0.99
    assert rows["explicitness_in_sample"]["chance"] == pytest.approx(0.022, abs=0.002)
    assert rows["explicitness_in_sample"]["chance_spread"] < 0.001
    assert np.isnan(rows["explicitness"]["chance"])  # no test rows
