"""What must hold of every metric for any codes: symmetries, and scores of noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle_bench.metrics import infomec, mig, modularity, sap

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=15, deadline=None, derandomize=True)
SCORES = ("modularity", "explicitness", "explicitness_heldout", "compactness")
# InfoE is cut off at an iteration cap or at a gradient tolerance, and the other order of sums moves where.
TOLERANCE = {"modularity": 1e-9, "compactness": 1e-9, "explicitness": 2e-3, "explicitness_heldout": 5e-3}


def _sample(seed: int, discrete: bool, n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Factors of 2 to 5 values, and codes that mix, copy, coarsen and ignore them."""
    rng = np.random.default_rng(seed)
    factors = np.column_stack([rng.integers(0, size, n) for size in rng.integers(2, 6, 3)])
    noise = rng.normal(size=(n, 4)) * rng.uniform(0.3, 2, 4)
    codes = factors[:, rng.integers(0, 3, 4)] * rng.choice([-1.0, 0.0, 1.0, 2.0], 4) + noise
    return (np.round(codes).astype(int) if discrete else codes), factors


def _infomec(codes: np.ndarray, factors: np.ndarray, discrete: bool) -> dict[str, float]:
    return infomec(codes, factors, discrete=discrete, n_train=160)


def _same(first: dict[str, float], second: dict[str, float], slack: float = 0.0) -> None:
    for name in SCORES:
        assert second[name] == pytest.approx(first[name], abs=TOLERANCE[name] + slack), name


@FEW
@given(SEEDS, st.booleans())
def test_order_of_latents_and_factors_does_not_matter(seed: int, discrete: bool) -> None:
    codes, factors = _sample(seed, discrete)
    rng = np.random.default_rng(seed)
    latent_order, factor_order = rng.permutation(4), rng.permutation(3)
    inputs = codes[:, latent_order], factors[:, factor_order]
    first, second = _infomec(codes, factors, discrete), _infomec(*inputs, discrete)
    _same(first, second)
    np.testing.assert_allclose(second["nmi"], first["nmi"][factor_order][:, latent_order], atol=1e-12)
    for metric in (mig, modularity):
        assert metric(*inputs)["score"] == pytest.approx(metric(codes, factors)["score"], abs=1e-12)
    assert sap(*inputs, n_train=160)["score"] == pytest.approx(sap(codes, factors, n_train=160)["score"], abs=1e-12)


@FEW
@given(SEEDS, st.booleans())
def test_names_of_factor_values_do_not_matter(seed: int, discrete: bool) -> None:
    codes, factors = _sample(seed, discrete)
    names = np.random.default_rng(seed).permutation(100)
    first, second = _infomec(codes, factors, discrete), _infomec(codes, names[factors], discrete)
    _same(first, second)
    for metric in (mig, modularity):
        assert metric(codes, names[factors])["score"] == pytest.approx(metric(codes, factors)["score"], abs=1e-12)


@FEW
@given(SEEDS)
def test_names_of_symbols_do_not_matter(seed: int) -> None:
    codes, factors = _sample(seed, True)
    names = np.random.default_rng(seed).permutation(1000)
    _same(_infomec(codes, factors, True), _infomec(names[codes], factors, True))


@FEW
@given(SEEDS, st.floats(-3, 3), st.floats(-100, 100))
def test_units_of_continuous_codes_do_not_matter(seed: int, magnitude: float, shift: float) -> None:
    codes, factors = _sample(seed, False)
    scaled_codes = codes * 10**magnitude + shift  # all latents alike: activity compares their ranges
    # Where the shift is large against the codes, rounding moves them by 1e-10 of their spread or so.
    _same(_infomec(codes, factors, False), _infomec(scaled_codes, factors, False), slack=2e-3)
    scaled = codes * np.array([2.0**-7, 1, 4, 2.0**9])  # powers of two are exact, so bins do not move
    for metric in (mig, modularity):
        assert metric(scaled, factors)["score"] == pytest.approx(metric(codes, factors)["score"], abs=1e-12)


@FEW
@given(SEEDS, st.booleans())
def test_scores_stay_in_their_range(seed: int, discrete: bool) -> None:
    codes, factors = _sample(seed, discrete)
    result = _infomec(codes, factors, discrete)
    for name in SCORES:
        assert -0.01 <= result[name] <= 1 + 1e-12, name  # balanced weights fit rare classes at the others' cost
    assert (result["nmi"] >= 0).all()
    for metric in (mig, modularity, sap):
        assert 0 <= metric(codes, factors)["score"] <= 1


@FEW
@given(SEEDS)
def test_a_duplicated_latent_lowers_compactness_and_mig(seed: int) -> None:
    codes, factors = np.random.default_rng(seed).integers(0, 4, (2, 300, 3))
    single_codes, double_codes = factors, np.column_stack([factors, factors])
    assert infomec(double_codes, factors, discrete=True)["compactness"] < 0.6
    assert infomec(single_codes, factors, discrete=True)["compactness"] > 0.9
    assert mig(double_codes, factors)["score"] == pytest.approx(0, abs=1e-12)
    assert mig(single_codes, factors)["score"] > 0.9
    # Noise has nothing to tell: plug-in information of 4 by 4 values on 300 rows is near 9 / 600 nats.
    noise = infomec(codes, factors, discrete=True)
    assert noise["nmi"].mean() == pytest.approx(9 / 600 / np.log(4), rel=0.7)
    assert noise["explicitness"] < 0.1
    assert mig(codes, factors)["score"] < 0.05
