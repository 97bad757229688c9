"""The fast logistic regression against scikit-learn's and against its own optimum."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.metrics._logistic import Features, fit, log_loss, probe_losses

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 400)
VALUES = RNG.normal(size=(400, 4)) + LABELS[:, None] * np.array([0.5, -0.2, 0.0, 0.1])
SYMBOLS = np.column_stack([(LABELS + RNG.integers(0, 3, 400)) % 5, RNG.integers(0, 7, 400)])


def _sklearn(features: np.ndarray, labels: np.ndarray, iterations: int):  # type: ignore[no-untyped-def]
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(C=np.inf, class_weight="balanced", max_iter=iterations).fit(features, labels)


def _one_hot(symbols: np.ndarray) -> np.ndarray:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(sparse_output=False).fit_transform(symbols)


@pytest.mark.parametrize("iterations", [1, 5, 100])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("discrete", [True, False])
def test_coefficients_are_scikit_learns_at_every_iteration_cap(iterations: int, classes: int, discrete: bool) -> None:
    labels = np.minimum(LABELS, classes - 1)
    features = Features.one_hot(SYMBOLS, SYMBOLS) if discrete else Features.scaled(VALUES)
    dense = _one_hot(SYMBOLS) if discrete else VALUES
    model = _sklearn(dense, labels, iterations)
    coefficients = fit(features, labels, classes, iterations)
    free = coefficients[:, 1:] if classes == 2 else coefficients
    np.testing.assert_allclose(free[:-1].T, model.coef_, atol=1e-5)
    np.testing.assert_allclose(free[-1], model.intercept_, atol=1e-5)
    from sklearn.metrics import log_loss as expected

    assert log_loss(features, labels, coefficients) == pytest.approx(
        expected(labels, model.predict_proba(dense)), abs=1e-7
    )


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fit(Features.scaled(VALUES), LABELS, 5, 100)
    monkeypatch.setattr("disentangle_bench.metrics._logistic._BLOCK", 64)
    np.testing.assert_allclose(fit(Features.scaled(VALUES), LABELS, 5, 100), expected, atol=1e-6)


def test_every_class_must_occur() -> None:
    for labels, classes in ((np.zeros(400, dtype=np.int64), 1), (np.zeros(400, dtype=np.int64), 2)):
        with pytest.raises(BenchError, match="at least two classes"):
            fit(Features.scaled(VALUES), labels, classes, 10)


def test_a_symbol_unseen_in_training_lights_no_column() -> None:
    features = Features.one_hot(np.array([[3, 1], [9, 1], [4, 8], [0, 0]]), np.array([[3, 1], [4, 2]]))
    assert features.columns.tolist() == [[0, 2], [-1, 2], [1, -1], [-1, -1]]
    assert features.width == 4
    coefficients = np.arange(10.0).reshape(5, 2) ** 2
    losses = [log_loss(features.part([row]), np.array([0]), coefficients) for row in range(4)]
    logits = [coefficients[0] + coefficients[2] + coefficients[4], coefficients[2] + coefficients[4]]
    logits += [coefficients[1] + coefficients[4], coefficients[4]]
    for loss, logit in zip(losses, logits, strict=True):
        assert loss == pytest.approx(min(logit[1] - logit[0] + np.log1p(np.exp(logit[0] - logit[1])), 36.04), abs=0.01)


def test_a_confident_wrong_answer_costs_36_nats() -> None:
    coefficients = np.array([[0.0, 1000.0], [0.0, 0.0]])
    loss = log_loss(Features.scaled(np.ones((1, 1))), np.array([0]), coefficients)
    assert loss == pytest.approx(-np.log(np.finfo(float).eps))


def test_probe_losses_follow_their_tasks() -> None:
    test_rows = np.arange(300, 400)
    tasks = [(LABELS, test_rows, 5), (LABELS, test_rows[:0], 5), (np.zeros(400, dtype=np.int64), test_rows, 1)]
    losses = probe_losses(None, VALUES, 300, tasks, 100)
    model = _sklearn(VALUES[:300], LABELS[:300], 100)
    chance = model.predict_proba(VALUES)[np.arange(400), LABELS]
    assert losses[0, 0] == pytest.approx(-np.log(chance[:300]).mean(), abs=1e-5)
    assert losses[0, 1] == pytest.approx(-np.log(chance[300:]).mean(), abs=1e-5)
    assert losses[1, 0] == losses[0, 0]
    assert np.isnan(losses[1, 1])
    assert np.isnan(losses[2]).all()


THREADS = """
import os, sys
import numpy as np
from disentangle_bench.metrics import infomec
from disentangle_bench.cores import limited
rng = np.random.default_rng(0)
factors = rng.integers(0, 6, (900, 3))
for codes, discrete in ((rng.integers(0, 9, (900, 4)), True), (factors[:, :2] + rng.normal(size=(900, 2)), False)):
    with limited(int(sys.argv[1])):
        result = infomec(codes, factors, discrete=discrete, n_train=600)
    names = ("modularity", "explicitness", "explicitness_heldout", "compactness")
    print(*(float(result[name]).hex() for name in names))
"""


@pytest.mark.thorough
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    outputs = set()
    for threads in ("1", "2", "5"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = dict.fromkeys(names, threads)
        import os

        result = subprocess.run(
            [sys.executable, "-c", THREADS, threads],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **environment},
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1
    assert "0x" in outputs.pop()
