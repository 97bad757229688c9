"""How long DCI's trees take, against scikit-learn's on the same codes, and how that grows.

    pytest benchmarks/test_dci_speed.py -o addopts= -s                  # two to three minutes more than the next
    pytest benchmarks/test_dci_speed.py -o addopts= -s -m "not slow"

The first call compiles (cached on disk afterwards) and is not timed; ``test_compilation`` times it on its own, in a
fresh process with an empty cache. ``test_ratio_to_scikit_learn`` runs both on the cores that there are, scikit-learn
with one process per core and its factors spread over them. Processor seconds are printed beside the clock's, because
they hold on a busy machine too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.metrics import _trees as trees

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "metrics"
CORES = len(os.sched_getaffinity(0))


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return arrays["codes"], arrays["factors"], int(arrays["n_train"])


def drawn(n, d, classes, discrete):
    """Codes [n, d] of which each tells of one of the factors [n, len(classes)]."""
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, size, n) for size in classes], axis=1)
    codes = rng.normal(size=(n, d)) + 2.0 * factors[:, np.arange(d) % len(classes)]
    return (np.round(codes * 4).astype(np.int64) if discrete else codes), factors


@pytest.fixture(scope="module", autouse=True)
def compiled():
    for discrete in (True, False):
        codes, factors = drawn(2000, 2, (3, 2), discrete)
        trees.fit(codes, factors).decision(codes)


@pytest.mark.parametrize("name", ["full_discrete64", "full_continuous"])
def test_golden_codes(benchmark, name):
    """10,000 training and 5,000 test rows, 12 latents, 6 factors of 57 classes in all: fit and read."""
    codes, factors, rows = golden(name)

    def run():
        return trees.fit(codes[:rows], factors[:rows]).decision(codes[rows:])

    benchmark.pedantic(run, rounds=3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("full_discrete64", 20), ("full_continuous", 20)])
def test_ratio_to_scikit_learn(name, least):
    from joblib import Parallel, delayed
    from sklearn.ensemble import GradientBoostingClassifier

    codes, factors, rows = golden(name)
    train, test = codes[:rows], codes[rows:]
    began, used = time.perf_counter(), time.process_time()
    fitted = trees.fit(train, factors[:rows])
    accuracy_here = (fitted.labels(fitted.decision(test)) == factors[rows:]).mean()
    ours, our_work = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def one(factor):
        start = time.process_time()
        model = GradientBoostingClassifier(random_state=0).fit(train, factor[:rows])
        return model.feature_importances_, model.score(test, factor[rows:]), time.process_time() - start

    Parallel(n_jobs=CORES)(delayed(np.arange)(i) for i in range(4 * CORES))  # starts the workers
    by_size = np.argsort(-factors.max(axis=0), kind="stable")  # the longest first, so that the cores end together
    began = time.perf_counter()
    results = Parallel(n_jobs=CORES)(delayed(one)(factors[:, j]) for j in by_size)
    theirs = time.perf_counter() - began
    their_work = sum(work for _, _, work in results)
    importance = np.empty_like(fitted.importance)
    for j, (column, _, _) in zip(by_size, results, strict=True):
        importance[:, j] = column
    worst = np.abs(importance - fitted.importance).max()
    accuracy = np.mean([score for _, score, _ in results])
    print(
        f"\n{name} on {CORES} cores: scikit-learn {theirs:.1f} s, here {ours:.2f} s, ratio {theirs / ours:.0f}\n"
        f"processor seconds {their_work:.1f} and {our_work:.2f}, ratio {their_work / our_work:.0f}\n"
        f"importances differ by at most {worst:.1e}, accuracies {accuracy:.4f} and {accuracy_here:.4f}; "
        f"peak memory of this process {peak:.0f} MB"
    )
    assert worst < 0.002
    assert theirs / ours > least


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize(
    ("n", "d", "classes"),
    [
        (5_000, 6, (5, 5)),
        (20_000, 6, (5, 5)),
        (80_000, 6, (5, 5)),
        (5_000, 12, (5, 5)),
        (5_000, 24, (5, 5)),
        (5_000, 6, (10, 10)),
        (5_000, 6, (20, 20)),
    ],
)
def test_growth(benchmark, n, d, classes, discrete):
    """Points, latents and classes are varied one at a time; each should cost about in proportion."""
    codes, factors = drawn(n, d, classes, discrete)
    used = time.process_time()
    benchmark.pedantic(trees.fit, args=(codes, factors), rounds=1)
    used = time.process_time() - used
    cells = n * d * sum(classes) * 100
    print(
        f"\n{n} points x {d} latents x {sum(classes)} classes: {benchmark.stats.stats.min:.2f} s; {used:.2f} processor "
        f"seconds, {used / cells * 1e9:.1f} ns for a point, latent, class and stage"
    )


def test_compilation(benchmark, tmp_path):
    """The first call ever, and the first of a later process."""
    code = (
        "import time, numpy as np\n"
        "t = time.perf_counter()\n"
        "from disentangle_bench.metrics import trees\n"
        "trees.fit(np.eye(4), np.array([[0, 0], [1, 1], [1, 2], [0, 0]])).decision(np.eye(4))\n"
        "print(time.perf_counter() - t)\n"
    )

    def first_call():
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        )
        return float(run.stdout)

    cold = benchmark.pedantic(first_call, rounds=1)
    print(f"\nfirst call: {cold:.1f} s with an empty cache, {first_call():.1f} s with a filled one")
