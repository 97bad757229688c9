"""InfoMEC's formulas, variants and degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import infomec
from disentangle_bench.metrics._infomec import CARD, score

N = 400
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 4, (N, 3))
NOISE = RNG.normal(size=(N, 3))
SCORES = ("modularity", "explicitness", "explicitness_heldout", "compactness")


def test_modularity_and_compactness_are_the_papers_formulas() -> None:
    codes = np.column_stack([FACTORS[:, 0], FACTORS[:, 0] // 2, FACTORS[:, 1] + 4 * (FACTORS[:, 2] > 1)])
    result = infomec(codes, FACTORS, discrete=True)
    nmi, (k, d) = result["nmi"], result["nmi"].shape
    by_latent = [(max(column) / sum(column) - 1 / k) / (1 - 1 / k) for column in nmi.T]
    by_factor = [(max(row) / sum(row) - 1 / d) / (1 - 1 / d) for row in nmi]
    assert result["modularity"] == pytest.approx(np.mean(by_latent), abs=1e-12)
    assert result["compactness"] == pytest.approx(np.mean(by_factor), abs=1e-12)
    assert nmi[0, 0] == pytest.approx(1.0)
    assert 0.4 < nmi[0, 1] < 0.6


def test_identity_codes_are_perfect_up_to_the_bias() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    full = infomec(np.tile(grid, (8, 1)), np.tile(grid, (8, 1)), discrete=True, n_train=384)
    for name in ("modularity", "compactness"):
        assert full[name] == pytest.approx(1.0, abs=1e-9)  # a full grid has no bias
    sampled = infomec(FACTORS, FACTORS, discrete=True)
    # Plug-in information of two independent variables of four values is about 9 / 2n nats.
    bias = 2 * 9 / (2 * N) / np.log(4)
    assert 1 - 3 * bias < sampled["modularity"] < 1
    assert full["explicitness"] > 0.999
    assert full["explicitness_heldout"] > 0.99


def test_noise_scores_about_nothing() -> None:
    rng = np.random.default_rng(5)
    result = infomec(rng.integers(0, 4, (3000, 3)), rng.integers(0, 4, (3000, 2)), discrete=True, n_train=2000)
    assert result["nmi"].max() < 0.01
    assert 0 <= result["explicitness"] < 0.01  # the floor: 27 free coefficients on 2,000 rows
    assert result["explicitness_heldout"] < 0.005


def test_a_duplicated_latent_lowers_compactness_only() -> None:
    result = infomec(FACTORS, FACTORS, discrete=True)
    duplicate_result = infomec(np.column_stack([FACTORS, FACTORS[:, 0]]), FACTORS, discrete=True)
    assert duplicate_result["compactness"] < result["compactness"] - 0.1
    assert duplicate_result["modularity"] == pytest.approx(result["modularity"], abs=0.02)


def test_explicitness_is_fitted_on_training_rows_and_tested_on_the_rest() -> None:
    codes = FACTORS + 0.8 * NOISE
    result = infomec(codes, FACTORS, discrete=False, n_train=300)
    training_result = infomec(codes[:300], FACTORS[:300], discrete=False)
    for name in ("modularity", "explicitness", "compactness"):
        assert result[name] == training_result[name]
    assert 0 < result["explicitness_heldout"] < result["explicitness"] + 0.1
    assert np.isnan(training_result["explicitness_heldout"])
    assert training_result.notes == {"explicitness_heldout": "not defined: no test rows, or no factor varies"}
    shuffled = FACTORS.copy()
    shuffled[300:] = np.random.default_rng(1).permutation(shuffled[300:])
    assert infomec(codes, shuffled, discrete=False, n_train=300)["explicitness_heldout"] == 0.0  # clipped, not below


@pytest.mark.parametrize("discrete", [True, False])
def test_heldout_variant_ranks_the_score_of_the_test_rows(discrete: bool) -> None:
    codes = FACTORS if discrete else FACTORS + 0.8 * NOISE
    paper_result = infomec(codes, FACTORS, discrete=discrete, n_train=300)
    heldout_result = infomec(codes, FACTORS, discrete=discrete, n_train=300, variant="heldout2026")
    for name in ("modularity", "compactness"):
        assert heldout_result[name] == paper_result[name]
    assert heldout_result["explicitness"] == paper_result["explicitness_heldout"] != paper_result["explicitness"]
    assert heldout_result["explicitness_in_sample"] == paper_result["explicitness"]
    np.testing.assert_array_equal(
        heldout_result["explicitness_by_factor"], paper_result["explicitness_heldout_by_factor"]
    )
    cards = {card.name: card.ranked for card in CARD.scores_of("heldout2026")}
    assert cards == {"modularity": True, "explicitness": True, "explicitness_in_sample": False, "compactness": True}
    assert "explicitness_in_sample" not in {card.name for card in CARD.scores_of("hsu2023")}
    result = score(Evaluation(Codes(codes, FACTORS if discrete else None), FACTORS, 300), variant="heldout2026", rng=0)
    assert list(result.scores) == list(cards)


def test_heldout_variant_without_test_rows_says_so() -> None:
    result = infomec(FACTORS, FACTORS, discrete=True, variant="heldout2026")
    assert np.isnan(result["explicitness"])
    assert result["explicitness_in_sample"] > 0.99
    assert result.notes == {"explicitness": "not defined: no test rows, or no factor varies"}


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("variant", CARD.variants)
def test_no_active_latent(discrete: bool, variant: str) -> None:
    result = infomec(np.full((N, 2), 3), FACTORS, discrete=discrete, variant=variant)
    assert not result["active"].any()
    assert result["modularity"] == result["compactness"] == 0.0
    in_sample = "explicitness_in_sample" if variant == "heldout2026" else "explicitness"
    assert result[in_sample] == pytest.approx(0.0, abs=1e-3)
    assert result.notes["modularity"] == "0: no latent is active"
    assert result.notes["compactness"] == "0: no latent is active, two are needed"


def test_one_active_latent() -> None:
    result = infomec(np.column_stack([FACTORS[:, 0], np.zeros(N, int)]), FACTORS, discrete=True)
    assert result["active"].tolist() == [True, False]
    assert result["compactness"] == 0.0
    assert result.notes["compactness"] == "0: one latent is active, two are needed"
    assert result["modularity"] > 0.9


def test_zero_information_counts_as_evenly_spread() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    codes, factors = grid, grid[:, :2]  # the third latent tells of nothing, exactly
    result = infomec(codes, factors, discrete=True)
    assert result["nmi"][:, 2].tolist() == [0.0, 0.0]
    assert result["modularity"] == pytest.approx(2 / 3)
    assert result["compactness"] == pytest.approx(1.0)


def test_a_constant_factor_is_left_out() -> None:
    codes = FACTORS[:, :2] + 0.5 * NOISE[:, :2]
    with_constant = np.column_stack([FACTORS[:, 0], np.full(N, 7), FACTORS[:, 1]])
    result = infomec(codes, with_constant, discrete=False, n_train=300)
    without = infomec(codes, FACTORS[:, :2], discrete=False, n_train=300)
    for name in SCORES:
        assert result[name] == without[name], name
    assert result["nmi"][1].tolist() == [0.0, 0.0]
    assert np.isnan(result["explicitness_by_factor"][1])
    assert result.notes == {"factors": "left out of every score, constant over the training rows: 1"}


def test_one_factor_and_no_factor_that_varies() -> None:
    result = infomec(FACTORS, FACTORS[:, :1], discrete=True)
    assert np.isnan(result["modularity"])
    assert result.notes["modularity"] == "not defined: fewer than two factors vary"
    assert result["compactness"] > 0.9
    constant_result = infomec(FACTORS, np.zeros((N, 2), int), discrete=True, n_train=300)
    assert all(np.isnan(constant_result[name]) for name in SCORES)
    assert set(constant_result.notes) == {*SCORES, "factors"}


def test_symbols_and_factor_values_unseen_in_training() -> None:
    codes, factors = FACTORS.copy(), FACTORS.copy()
    known_result = infomec(codes, factors, discrete=True, n_train=300)
    codes[300, :] = 99  # its latents light no column
    assert (
        infomec(codes, factors, discrete=True, n_train=300)["explicitness_heldout"]
        < known_result["explicitness_heldout"]
    )
    factors[300, :] = 99  # no probe could know these values: the row is left out
    assert infomec(codes, factors, discrete=True, n_train=300)["explicitness_heldout"] == pytest.approx(
        infomec(np.delete(codes, 300, 0), np.delete(factors, 300, 0), discrete=True, n_train=300)[
            "explicitness_heldout"
        ]
    )


def test_too_few_rows_of_a_value() -> None:
    result = infomec(NOISE[:6], np.arange(6)[:, None] % 3, discrete=False)  # two rows a value, ten neighbours asked
    assert np.isfinite(result["nmi"]).all()
    single_row_result = infomec(NOISE[:6], np.column_stack([np.arange(6), np.arange(6) % 2]), discrete=False)
    assert single_row_result["nmi"][0].tolist() == [0.0, 0.0, 0.0]


def test_variants_differ_where_their_table_says() -> None:
    spread = np.array([1.0, 0.1, 0.03])
    codes = (FACTORS + 0.3 * NOISE) * spread
    results = {name: infomec(codes, FACTORS, discrete=False, variant=name) for name in CARD.variants}
    assert results["hsu2023"]["active"].tolist() == [True, True, False]  # range > max / 20
    assert results["hsu2023_training"]["active"].tolist() == [True, False, False]  # range > max / 8
    assert results["factorqvae2024"]["active"].tolist() == [True, True, False]
    np.testing.assert_array_equal(results["hsu2023"]["nmi"], results["tripod2024"]["nmi"])  # 10 neighbours
    np.testing.assert_array_equal(results["hsu2023_training"]["nmi"], results["factorqvae2024"]["nmi"])  # 3
    assert (results["hsu2023"]["nmi"] != results["factorqvae2024"]["nmi"]).any()


def test_training_variant_probes_the_values_of_discrete_codes() -> None:
    symbols, parity = FACTORS[:, :2], FACTORS[:, :2] % 2
    values = symbols / 1.5 - 1  # a linear probe cannot tell whether a number is odd, one on symbols can
    codes = Codes(values, symbols)
    one_hot = infomec(codes, parity, variant="hsu2023")
    scalar = infomec(codes, parity, variant="hsu2023_training")
    assert one_hot["explicitness"] > 0.99
    assert scalar["explicitness"] < 0.3
    np.testing.assert_array_equal(one_hot["nmi"], scalar["nmi"])
    as_continuous = infomec(values, parity, discrete=False, variant="hsu2023_training")
    assert scalar["explicitness"] == as_continuous["explicitness"]


def test_training_variant_reads_symbols_without_scalars_as_one_hot() -> None:
    symbols, parity = FACTORS[:, :2], FACTORS[:, :2] % 2
    for codes, discrete in ((Codes(symbols.astype(float), symbols), None), (symbols, True)):
        result = infomec(codes, parity, discrete=discrete, variant="hsu2023_training")
        assert result.explicitness > 0.99


def test_training_variant_leaves_ignorant_latents_out_of_modularity() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    result = infomec(grid, grid[:, :2], discrete=True, variant="hsu2023_training")  # the third latent knows nothing
    assert result.modularity == pytest.approx(1.0)
    assert infomec(grid, grid[:, :2], discrete=True).modularity == pytest.approx(2 / 3)
    ignorant_result = infomec(grid[:, 2:], grid[:, :2], discrete=True, variant="hsu2023_training")
    assert ignorant_result.modularity == 0.0
    assert {name: CARD.version_of(name) for name in ("hsu2023", "hsu2023_training")} == {
        "hsu2023": 1,
        "hsu2023_training": 2,
    }


def test_training_variant_does_not_clip_the_log_loss() -> None:
    from disentangle_bench.metrics._logistic import Features, log_loss

    features = Features.scaled(np.array([[1.0]]))
    coefficients = np.array([[0.0, 200.0], [0.0, 0.0]])
    assert log_loss(features, np.array([0]), coefficients) == pytest.approx(-np.log(np.finfo(float).eps))
    assert log_loss(features, np.array([0]), coefficients, clip=False) == pytest.approx(200.0)


def test_ties_in_continuous_codes_have_a_note() -> None:
    codes = FACTORS + 0.8 * NOISE
    assert infomec(codes, FACTORS, discrete=False, n_train=300).notes == {}
    codes[:, 1] = codes[:, 1] > 1
    codes[:, 2] = np.round(codes[:, 2], 1)
    result = infomec(codes, FACTORS, discrete=False, n_train=300)
    assert result.notes["ties"].startswith("many equal values in latents 1, 2: noise breaks the ties")
    assert infomec(FACTORS, FACTORS, discrete=True, n_train=300).notes == {}


def test_training_variant_compares_the_ranges_of_values() -> None:
    symbols = np.column_stack([FACTORS[:, 0] * 5, FACTORS[:, 1], FACTORS[:, 2] % 2])  # ranges 15, 3 and 1
    assert infomec(symbols, FACTORS, discrete=True)["active"].all()
    result = infomec(symbols, FACTORS, discrete=True, variant="hsu2023_training")
    assert result["active"].tolist() == [True, True, False]
    values = np.column_stack([symbols[:, 0] / 15, symbols[:, 1] / 300, symbols[:, 2] / 2])
    result = infomec(Codes(values, symbols), FACTORS, variant="hsu2023_training")
    assert result["active"].tolist() == [True, False, True]


def test_codes_of_torch_tensors_are_read() -> None:
    torch = pytest.importorskip("torch")
    values = torch.from_numpy(FACTORS / 3).float()
    tensors = infomec(Codes(values.requires_grad_(), torch.from_numpy(FACTORS)), torch.from_numpy(FACTORS), n_train=300)
    arrays = infomec(FACTORS, FACTORS, discrete=True, n_train=300)
    assert {name: tensors[name] for name in SCORES} == {name: arrays[name] for name in SCORES}


def test_errors_say_what_to_do() -> None:
    with pytest.raises(BenchError, match="Did you mean 'hsu2023'"):
        infomec(FACTORS, FACTORS, discrete=True, variant="hsu2024")
    with pytest.raises(BenchError, match="pass discrete=True or discrete=False"):
        infomec(FACTORS, FACTORS)
    with pytest.raises(BenchError, match="rng is -1"):
        infomec(FACTORS * 1.0, FACTORS, discrete=False, rng=-1)
    with pytest.raises(BenchError, match="leave discrete out"):
        infomec(Codes(FACTORS, None), FACTORS, discrete=True)
    with pytest.raises(BenchError, match=r"values have shape \[400, 3\] and their indices \[400, 2\]"):
        infomec(Codes(FACTORS, FACTORS[:, :2]), FACTORS)
    with pytest.raises(BenchError, match="codes hold nan at row 0, column 0"):
        infomec(np.full((N, 1), np.nan), FACTORS, discrete=False)


def test_score_is_what_the_suite_stores() -> None:
    codes = Codes(FACTORS / 3.0, FACTORS)
    result = score(Evaluation(codes, FACTORS, 300), variant="hsu2023", rng=0)
    direct = infomec(codes, FACTORS, n_train=300)
    assert result.scores == {name: direct[name] for name in SCORES}
    assert list(result.scores) == [card.name for card in CARD.scores_of("hsu2023")]
    np.testing.assert_array_equal(result.arrays["nmi"], direct["nmi"])
    assert all(type(value) is float for value in result.scores.values())
