"""Files of codes as they are read: defaults, symbols, and factors that are real numbers."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import dci, mig, modularity
from disentangle_bench.scoring.files import load_evaluation, save_evaluation
from disentangle_bench.scoring.score import default_metrics

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, [4, 3], (300, 2))
REAL = RNG.uniform(-1, 1, (300, 2))
CODES = REAL + 0.05 * RNG.normal(size=(300, 2))


def test_what_is_saved_is_read_again(tmp_path):
    before = Evaluation(Codes(CODES, FACTORS), FACTORS, 200, np.ones(300), np.arange(300) + 7)
    save_evaluation(tmp_path / "codes.npz", before)
    after = load_evaluation(tmp_path / "codes.npz")
    assert after.n_train == 200
    for name in ("factors", "squared_error", "index"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(after.codes.values, CODES)
    np.testing.assert_array_equal(after.codes.indices, FACTORS)


def test_indices_make_codes_discrete_without_a_word(tmp_path):
    np.savez(tmp_path / "codes.npz", codes=CODES, indices=FACTORS, factors=FACTORS)
    evaluation = load_evaluation(tmp_path / "codes.npz")
    assert evaluation.codes.discrete
    np.testing.assert_array_equal(evaluation.codes.indices, FACTORS)


def test_real_factors_stay_real_or_are_cut_into_declared_bins(tmp_path):
    mixed = np.column_stack([REAL[:, 0], FACTORS[:, 1]])
    np.savez(tmp_path / "codes.npz", codes=CODES, factors=mixed)
    real = load_evaluation(tmp_path / "codes.npz")
    np.testing.assert_array_equal(real.factors, mixed)
    assert default_metrics(real) == {"dci": "eastwood2018", "mcc": "pearson"}
    binned = load_evaluation(tmp_path / "codes.npz", bins=5).factors
    assert binned.dtype == np.int64
    edges = np.linspace(mixed[:, 0].min(), mixed[:, 0].max(), 6)[1:-1]
    np.testing.assert_array_equal(binned[:, 0], np.digitize(mixed[:, 0], edges))
    np.testing.assert_array_equal(binned[:, 1], FACTORS[:, 1])


def test_whole_floats_are_classes_only_if_they_are_few_and_exact(tmp_path):
    np.savez(tmp_path / "few.npz", codes=CODES, factors=FACTORS.astype(float))
    assert load_evaluation(tmp_path / "few.npz").factors.dtype == np.int64
    for name, factors in {"noisy": FACTORS + 1e-9 * CODES, "many": np.arange(600.0).reshape(300, 2)}.items():
        np.savez(tmp_path / f"{name}.npz", codes=CODES, factors=factors)
        assert load_evaluation(tmp_path / f"{name}.npz").factors.dtype == np.float64
    with pytest.raises(BenchError, match=r"over 256 different floats in column 0, taken for a real number: use mcc"):
        mig(CODES, np.arange(600.0).reshape(300, 2))


def test_dci_with_regressors():
    perfect = dci(REAL, REAL, n_train=200, variant="eastwood2018")
    assert perfect.disentanglement > 0.95
    assert 0 < perfect.error_train < perfect.error < 0.1
    noise = dci(RNG.normal(size=(300, 3)), REAL, n_train=200, variant="eastwood2018")
    assert noise.error == pytest.approx(1.1, abs=0.15)  # guessing the mean is 1, and a forest does worse on noise
    assert noise.disentanglement < 0.2
    constant = dci(REAL, np.column_stack([REAL, np.full(300, 0.1)]), n_train=200, variant="eastwood2018")
    assert constant.error == pytest.approx(perfect.error)
    result = dci(3 * REAL + 1, -2 * REAL, n_train=200, variant="eastwood2018")
    assert result.disentanglement == pytest.approx(perfect.disentanglement, abs=0.01)


def test_extreme_integers_are_scored():
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    binary_factors = (FACTORS > 1).astype(np.int64)
    for codes in (np.where(binary_factors == 1, high, low), high - 5000 * binary_factors):
        assert mig(codes, binary_factors).score == mig(binary_factors, binary_factors).score
        assert modularity(codes, binary_factors).score == modularity(binary_factors, binary_factors).score


def test_scoring_and_its_files_need_no_torch():
    import subprocess
    import sys

    modules = "disentangle_bench.scoring.score, disentangle_bench.scoring.groups, disentangle_bench.api.scores"
    code = f"import sys; sys.modules['torch'] = None; import {modules}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 0, result.stderr
