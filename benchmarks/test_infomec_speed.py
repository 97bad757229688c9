"""How fast InfoMEC is against scikit-learn's calls, and how it grows with the number of rows.

Run from the top of the repository, on a quiet machine:

    python -m pytest benchmarks/test_infomec_speed.py -s -o addopts=""

The scikit-learn path is timed as users have it (its BLAS takes every processor) and with BLAS kept to one thread,
which suits it better; the ratio asked for is against the faster of the two.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from disentangle_bench.metrics import infomec

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
FOLDER = TESTS / "golden" / "metrics"
GOLDEN = ("full_discrete64", "full_continuous")


def _load(name: str, rows: int | None = None) -> tuple[np.ndarray, np.ndarray, bool, int]:
    """A golden file's codes, factors, discrete, n_train; its 10,000 training rows repeated to ``rows`` rows."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        codes, factors = stored["codes"], stored["factors"]
        discrete, n_train = bool(stored["discrete"]), int(stored["n_train"])
    if rows is None:
        return codes, factors, discrete, n_train
    rng = np.random.default_rng(0)
    drawn = rng.permutation(n_train)[:rows] if rows <= n_train else rng.integers(0, n_train, rows)
    codes = codes[drawn]
    if not discrete:
        codes = codes + rng.normal(size=codes.shape) * 1e-3  # repeated rows must not be ties
    return codes, factors[drawn], discrete, rows


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _by_scikit_learn(codes: np.ndarray, factors: np.ndarray, discrete: bool, n_train: int) -> None:
    """InfoMEC with scikit-learn's calls in the place of the fast ones."""
    from support import sklearn_oracles

    with pytest.MonkeyPatch.context() as patch:
        for name in ("plug_in_information", "nearest_neighbour_information"):
            patch.setattr(f"disentangle_bench.metrics._infomec.{name}", getattr(sklearn_oracles, name))
        patch.setattr("disentangle_bench.metrics._logistic.probe_losses", sklearn_oracles.probe_losses)
        infomec(codes, factors, discrete=discrete, n_train=n_train)


@pytest.mark.parametrize("name", GOLDEN)
def test_infomec_is_twice_as_fast_as_scikit_learn(name: str, benchmark: Any) -> None:
    codes, factors, discrete, n_train = _load(name)

    def run() -> None:
        infomec(codes, factors, discrete=discrete, n_train=n_train)

    run()  # compile, and import scikit-learn
    benchmark.pedantic(run, rounds=3, iterations=1)
    fast = benchmark.stats.stats.median
    many = _seconds(lambda: _by_scikit_learn(codes, factors, discrete, n_train))
    with threadpool_limits(limits=1, user_api="blas"):
        one = _seconds(lambda: _by_scikit_learn(codes, factors, discrete, n_train))
    print(
        f"\n{name}: {fast:.2f} s; scikit-learn {many:.2f} s ({many / fast:.1f} times), "
        f"with one BLAS thread {one:.2f} s ({one / fast:.1f} times)"
    )
    assert min(many, one) / fast >= 2


def test_sparse_one_hot_codes_for_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The originals give scikit-learn dense one-hot codes; sparse ones are the fairer rival."""
    import sklearn.preprocessing

    dense = sklearn.preprocessing.OneHotEncoder

    def sparse(**options: Any) -> Any:
        return dense(**{**options, "sparse_output": True})

    codes, factors, discrete, n_train = _load("full_discrete64")
    infomec(codes, factors, discrete=discrete, n_train=n_train)
    fast = min(_seconds(lambda: infomec(codes, factors, discrete=discrete, n_train=n_train)) for _ in range(3))
    monkeypatch.setattr(sklearn.preprocessing, "OneHotEncoder", sparse)
    with threadpool_limits(limits=1, user_api="blas"):
        slow = min(_seconds(lambda: _by_scikit_learn(codes, factors, discrete, n_train)) for _ in range(3))
    print(
        f"\nfull_discrete64: {fast:.2f} s; scikit-learn, sparse, one BLAS thread {slow:.2f} s ({slow / fast:.1f} times)"
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_time_is_about_linear_in_rows(name: str) -> None:
    codes, factors, discrete, _ = _load(name, 1000)
    infomec(codes, factors, discrete=discrete)
    seconds = {}
    for rows in (5_000, 20_000, 80_000):
        codes, factors, discrete, _ = _load(name, rows)
        seconds[rows] = _seconds(lambda: infomec(codes, factors, discrete=discrete))  # noqa: B023
    print(f"\n{name}: " + ", ".join(f"{rows} rows {taken:.2f} s" for rows, taken in seconds.items()))
    # 16 times the rows; the probe's iterations vary with the data, and sorting costs a logarithm.
    assert seconds[80_000] / seconds[5_000] < 48
