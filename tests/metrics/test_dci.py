"""DCI against golden figures of the original implementations, its mathematics, and what degenerate input gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import dci
from disentangle_bench.metrics._dci import CARD, score
from support.sklearn_oracles import boosted_trees

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
SCORES = ("disentanglement", "completeness", "informativeness", "informativeness_train")


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays), json.loads((GOLDEN / f"{name}.json").read_text())


def factors_and_codes(seed, n=300, k=3, noise=0.3):
    """Factors [n, k] of 3, 4, ... values, and continuous codes [n, k] that each tell of one factor."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(0, 3 + j, n) for j in range(k)], axis=1)
    return factors, factors + noise * rng.normal(size=(n, k))


def test_the_golden_figures_are_there():
    assert len(NAMES) >= 9


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.thorough) if n == "full_continuous" else n for n in NAMES]
)
def test_golden_boosted_trees(name):
    """What is left are draws between equally good splits: scikit-learn with another random_state differs as much."""
    arrays, golden = load(name)
    expected = golden["dci_gbt"]
    result = dci(arrays["codes"], arrays["factors"], n_train=int(arrays["n_train"]))
    bound = 0.0015 if arrays["discrete"] else 0.002
    assert result["disentanglement"] == pytest.approx(expected["disentanglement"], abs=bound)
    assert result["completeness"] == pytest.approx(expected["completeness"], abs=bound)
    assert result["informativeness"] == pytest.approx(expected["informativeness_test"], abs=0.005)
    assert result["informativeness_train"] == pytest.approx(expected["informativeness_train"], abs=0.005)
    np.testing.assert_allclose(result["importance"], expected["importance"], atol=0.015)
    assert result["importance"].shape == (arrays["codes"].shape[1], arrays["factors"].shape[1])
    if len(arrays["codes"]) >= 10_000:  # where nothing but rounding and rare draws is left
        np.testing.assert_allclose(result["importance"], expected["importance"], atol=0.001)
        for name, golden_name in zip(SCORES, ("disentanglement", "completeness", "informativeness_test"), strict=False):
            assert result[name] == pytest.approx(expected[golden_name], abs=5e-4)


# The forest is scikit-learn's own and takes seconds: the variant's choices show on the quick files already.
QUICK = ("perfect_discrete", "mixed_discrete10")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.thorough) for n in NAMES])
def test_golden_random_forest(name):
    arrays, golden = load(name)
    expected = golden["dci_rf_tripod2024"]
    result = dci(arrays["codes"], arrays["factors"], n_train=int(arrays["n_train"]), variant="tripod2024")
    assert result["disentanglement"] == pytest.approx(expected["D"], abs=1e-6)
    assert result["completeness"] == pytest.approx(expected["C"], abs=1e-6)
    assert result["informativeness"] == pytest.approx(expected["I"], abs=1e-6)


@pytest.mark.parametrize("n_train", [400, 300])
def test_agrees_with_scikit_learn_run_here(n_train):
    factors, codes = factors_and_codes(0, n=400)
    codes[:, 1] = np.round(codes[:, 1])
    result, expected = dci(codes, factors, n_train=n_train), boosted_trees(codes, factors, n_train)
    np.testing.assert_allclose(result.importance, expected["importance"], atol=0.01)
    for name in SCORES:
        assert result[name] == pytest.approx(expected[name], abs=0.01, nan_ok=True), name
    assert "exact, by sorted lists" in result.notes["splits"]


def test_the_scores_of_a_matrix_done_by_hand(monkeypatch):
    """R = [[1, .5], [0, .5]]: latent 0 has rho = .75 and H(2/3, 1/3), latent 1 has rho = .25 and H = 0."""
    matrix = np.array([[1.0, 0.5], [0.0, 0.5]])
    fit = (matrix, np.array([1.0, 0.5]), np.array([1.0, 1.0]))
    monkeypatch.setattr("disentangle_bench.metrics._dci._boosted", lambda *_: fit)
    result = dci(np.arange(6).reshape(3, 2), [[0, 1], [1, 0], [1, 1]])
    h = -(2 / 3) * np.log2(2 / 3) - (1 / 3) * np.log2(1 / 3)
    assert result.disentanglement == pytest.approx(0.75 * (1 - h) + 0.25, abs=1e-8)
    assert result.completeness == pytest.approx(0.5 * 1 + 0.5 * 0, abs=1e-8)
    assert (result.informativeness, result.informativeness_train) == (0.75, 1.0)


def test_codes_that_are_the_factors_score_one():
    rng = np.random.default_rng(1)
    factors = np.stack([rng.integers(0, size, 900) for size in (2, 3, 5)], axis=1)
    for codes in (factors, factors.astype(np.float32), -3.5 * factors):
        result = dci(codes, factors)
        assert all(result[name] == pytest.approx(1, abs=1e-6) for name in SCORES)
        np.testing.assert_allclose(result["importance"], np.eye(3), atol=1e-6)


def test_independent_noise_scores_about_zero():
    rng = np.random.default_rng(2)
    result = dci(rng.normal(size=(1200, 5)), rng.integers(0, 4, (1200, 3)))
    assert 0 <= result["disentanglement"] < 0.02
    assert 0 <= result["completeness"] < 0.02
    assert result["informativeness"] == pytest.approx(0.25, abs=0.05)


def test_a_twin_latent_costs_completeness_and_not_disentanglement():
    factors, codes = factors_and_codes(3, n=450, noise=0.05)
    result, twin_result = dci(codes, factors), dci(codes[:, [0, 0, 1, 2]], factors)
    assert twin_result["completeness"] < result["completeness"] - 0.1
    assert twin_result["disentanglement"] == pytest.approx(result["disentanglement"], abs=0.005)


def test_mixing_latents_costs_disentanglement():
    factors, codes = factors_and_codes(4)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert dci(codes @ rotation, factors)["disentanglement"] < dci(codes, factors)["disentanglement"] - 0.2


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(3)), discrete=st.booleans())
def test_the_order_of_latents_and_factors_does_not_matter(seed, order, discrete):
    """Up to the draws between equally good splits, which at 240 rows moved scores by up to 0.013 in 60 tries."""
    factors, codes = factors_and_codes(seed, n=240)
    codes = np.round(codes * 4).astype(int) if discrete else codes
    plain, latents, targets = dci(codes, factors), dci(codes[:, order], factors), dci(codes, factors[:, order])
    np.testing.assert_allclose(latents["importance"], plain["importance"][order], atol=0.04)
    np.testing.assert_allclose(targets["importance"], plain["importance"][:, order], atol=0.04)
    for name in ("disentanglement", "completeness"):
        assert latents[name] == pytest.approx(plain[name], abs=0.03)
        assert targets[name] == pytest.approx(plain[name], abs=0.03)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_numbers_of_factor_values_do_not_matter(seed):
    factors, codes = factors_and_codes(seed, n=240)
    rng = np.random.default_rng(seed)
    renamed = np.stack([rng.permutation(50)[column] for column in factors.T], axis=1)
    plain, other = dci(codes, factors), dci(codes, renamed)
    np.testing.assert_allclose(other["importance"], plain["importance"], atol=0.04)
    assert all(other[name] == pytest.approx(plain[name], abs=0.03) for name in SCORES[:2])


@pytest.mark.parametrize("cells", [16, 1024])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), power=st.integers(-8, 8))
def test_a_rising_map_of_a_latent_changes_nothing(cells, seed, power):
    """Splits see the order of values only, so the importances agree bit by bit; a power of two moves no mid point.

    The codes lie on a grid, because values within 1e-7 are one value, and what is within depends on the scale.
    """
    factors, codes = factors_and_codes(seed, n=450)
    codes = np.round(codes * cells) / cells
    plain = dci(codes, factors)
    assert ("sorted lists" in plain.notes["splits"]) == (cells == 1024)
    scaled, bent = codes * 2.0**power, codes.copy()
    bent[:, 1] = np.unique(codes[:, 1], return_inverse=True)[1]  # a value's rank: the extreme rising map
    scaled_result, ranked = dci(scaled, factors), dci(bent, factors)
    assert all(scaled_result[name] == plain[name] for name in SCORES)
    assert ranked["importance"].tobytes() == plain["importance"].tobytes() == scaled_result["importance"].tobytes()
    assert ranked["informativeness_train"] == plain["informativeness_train"]
    assert ranked["informativeness"] == pytest.approx(plain["informativeness"], abs=0.02)


def test_variants_read_values_or_indices():
    factors, _ = factors_and_codes(5)
    shuffled = Codes(values=np.random.default_rng(0).normal(size=factors.shape), indices=factors)
    assert dci(shuffled, factors, variant="factorqvae2024")["informativeness"] == 1
    for variant in ("locatello2019", "tripod2024"):
        assert dci(shuffled, factors, variant=variant)["informativeness"] < 0.6
    plain = dci(shuffled.values, factors, variant="factorqvae2024")
    assert plain.notes["codes"] == "the codes have no indices: their values were read"
    assert plain["disentanglement"] == dci(shuffled.values, factors)["disentanglement"]


def test_tripod_never_reads_the_rows_after_n_train():
    factors, codes = factors_and_codes(6)
    spoiled = codes.copy()
    spoiled[200:] = 7.0
    result, other = (dci(c, factors, n_train=200, variant="tripod2024") for c in (codes, spoiled))
    assert all(result[name] == other[name] for name in SCORES)
    assert result.notes["split"] == "fitted on 180 of the 200 training rows, scored on the other 20"


def test_a_third_is_kept_for_the_test_if_nothing_is_said():
    factors, codes = factors_and_codes(7, n=301)
    assert all(dci(codes, factors)[name] == dci(codes, factors, n_train=201)[name] for name in SCORES)
    assert dci(codes, factors)["informativeness"] != dci(codes, factors, n_train=200)["informativeness"]


def test_score_is_what_the_suite_calls():
    factors, codes = factors_and_codes(8)
    result = score(Evaluation(Codes(codes), factors, 200), variant=CARD.default_variant, rng=3)
    direct_result = dci(codes, factors, n_train=200, rng=3)
    assert CARD.default_variant == "locatello2019"
    assert (
        result.scores
        == {name: direct_result[name] for name in SCORES}
        == {c.name: direct_result[c.name] for c in CARD.scores_of(CARD.default_variant)}
    )
    assert result.arrays["importance"].tobytes() == direct_result["importance"].tobytes()
    assert result.notes == direct_result.notes


def test_torch_tensors_and_float16_are_read():
    torch = pytest.importorskip("torch")
    factors, codes = factors_and_codes(9, n=90)
    codes = codes.astype(np.float16)
    plain = dci(codes, factors)
    tensors = dci(torch.from_numpy(codes).requires_grad_(), torch.from_numpy(factors))
    assert all(tensors[name] == plain[name] for name in SCORES)


def test_a_constant_latent_has_no_importance():
    factors, codes = factors_and_codes(10, n=120)
    codes[:, 1] = 4
    result = dci(codes, factors)
    assert result["importance"][1].tolist() == [0, 0, 0]
    np.testing.assert_allclose(result["importance"].sum(axis=0), 1)


@pytest.mark.parametrize("variant", ["locatello2019", "tripod2024"])
def test_all_latents_constant_score_zero_and_guess_the_most_frequent_value(variant):
    factors = np.array([[0, 1], [0, 1], [0, 2], [1, 0]] * 30)
    result = dci(np.zeros((120, 4)), factors, variant=variant)
    assert (result["disentanglement"], result["completeness"]) == (0, 0)
    assert result.notes["disentanglement"] == "0: no latent helps to tell any factor"
    assert not result["importance"].any()
    assert result["informativeness_train"] == pytest.approx((0.75 + 0.5) / 2, abs=0.02)


def test_a_constant_factor_is_left_out():
    factors, codes = factors_and_codes(11, n=120)
    padded = np.insert(factors, 1, 5, axis=1)
    result, plain = dci(codes, padded), dci(codes, factors)
    assert all(result[name] == plain[name] for name in SCORES)
    assert result["importance"].shape == (3, 4)
    assert not result["importance"][:, 1].any()
    assert result.notes["factors"] == "left out of every score, constant over the training rows: 1"


def test_no_factor_varies():
    result = dci(np.arange(12).reshape(6, 2), np.ones((6, 2)))
    assert all(np.isnan(result[name]) for name in SCORES)
    assert all(result.notes[name] == "not defined: no factor varies" for name in SCORES)


def test_one_latent_or_one_factor_leaves_an_entropy_to_base_one_undefined():
    factors, codes = factors_and_codes(12, n=90)
    one_latent, one_factor = dci(codes[:, :1], factors), dci(codes, factors[:, :1])
    assert np.isnan(one_latent["completeness"])
    assert one_latent.notes["completeness"] == "not defined: only one latent"
    assert 0 <= one_latent["disentanglement"] < 0.01
    assert np.isnan(one_factor["disentanglement"])
    assert one_factor.notes["disentanglement"] == "not defined: only one factor varies"
    assert one_factor["completeness"] > 0.5


def test_values_never_seen_in_training_count_as_errors():
    factors = np.array([[0], [1], [2]] * 20 + [[0], [1], [2], [9]])
    result = dci(np.repeat(factors, 2, axis=1), factors, n_train=60)
    assert (result["informativeness"], result["informativeness_train"]) == (0.75, 1.0)
    assert result.notes["informativeness"].startswith("1 of 4 test labels never occur")


def test_no_test_rows():
    factors, codes = factors_and_codes(13, n=60)
    result = dci(codes, factors, n_train=60)
    assert np.isnan(result["informativeness"])
    assert result.notes["informativeness"] == "not defined: no test rows"
    assert result["disentanglement"] > 0.3


def test_two_training_rows_suffice_and_one_does_not():
    result = dci(np.array([[0.0, 1], [1, 1], [2, 1]]), [[0], [1], [1]], n_train=2)
    assert result["importance"].tolist() == [[1.0], [0.0]]
    assert result["informativeness"] == 1
    with pytest.raises(BenchError, match=r"^1 of 3 rows are for training; dci needs two or more"):
        dci(np.eye(3), [[0], [1], [1]], n_train=1)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.array([[1.0, 2], [np.nan, 2], [0, 0]]), "codes hold nan at row 1, column 0"),
        (np.array([[1.0, 2], [1, 2], [0, -np.inf]]), "codes hold -inf at row 2, column 1"),
        (np.array([[1.0, 2], [1, 1e39], [0, 0]]), r"codes hold 1e\+39 at row 1, column 1.*float32"),
        (np.array([["a", "b"]] * 3, dtype=object), "dtype object"),
        (np.zeros((0, 2)), "at least one row"),
        (np.zeros(3), "two axes are needed"),
        (np.zeros((4, 2)), "codes have 4 rows and factors have 3"),
        (Codes(np.zeros((3, 2)), np.zeros((3, 1), int)), r"shape \[3, 2\] and their indices \[3, 1\]"),
    ],
)
def test_codes_that_cannot_be_used_are_named(codes, message):
    with pytest.raises(BenchError, match=message):
        dci(codes, [[0], [1], [1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "locatello"}, "unknown variant of dci 'locatello'. Did you mean 'locatello2019'"),
        ({"rng": -1}, "rng is -1; allowed are whole numbers from 0"),
        ({"rng": 0.5}, "rng is 0.5"),
        ({"n_train": 9}, "n_train is 9"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments, message):
    with pytest.raises(BenchError, match=message):
        dci(np.eye(3), [[0], [1], [1]], **arguments)
