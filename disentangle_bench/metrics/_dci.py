"""DCI: disentanglement, completeness and informativeness from a classifier's importances (Eastwood & Williams 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.cores import available
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.metrics.inputs import Arrays, as_arrays, as_codes, as_seed
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

_CLASSIFIERS = ("locatello2019", "factorqvae2024", "tripod2024")

CARD = MetricCard(
    name="dci",
    version=1,
    paper="Eastwood & Williams 2018, A framework for the quantitative evaluation of disentangled representations, "
    "section 2; classifiers of Locatello et al. 2019",
    summary="Entropies of the importances of latents to classifiers of the factors, and their accuracy",
    scores=(
        ScoreCard("disentanglement", True, "each latent matters to one factor only"),
        ScoreCard("completeness", True, "each factor needs one latent only"),
        ScoreCard(
            "informativeness",
            True,
            "accuracy of the classifiers on the test rows, mean over factors",
            variants=_CLASSIFIERS,
        ),
        ScoreCard("informativeness_train", True, "their accuracy on the training rows", variants=_CLASSIFIERS),
        ScoreCard(
            "error",
            False,
            "error of the regressors on the test rows, as a share of that of guessing the mean, mean over factors",
            variants=("eastwood2018",),
        ),
        ScoreCard("error_train", False, "their error on the training rows", ranked=False, variants=("eastwood2018",)),
    ),
    variants={
        "locatello2019": "gradient-boosted trees (100 stages, depth 3) on values",
        "factorqvae2024": "the same trees on indices; on values where the codes have no indices",
        "tripod2024": "random forest (100 trees, entropy, depth 10) on standardised values; fitted on 90 % of the "
        "training rows, scored on the rest of them",
        "eastwood2018": "random-forest regressors (100 trees, depth 10) on values: for factors that are real numbers",
    },
    permutations=1,  # seconds each, and its scores of noise hardly vary
)

_Fit = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]  # R [d, k], test [k], train [k]


def dci(
    codes: Any,
    factors: Any,
    *,
    n_train: int | None = None,
    variant: str = "locatello2019",
    rng: int = 0,
) -> MetricResult:
    """Return DCI of ``codes`` [n, d] and ``factors`` [n, k], integers.

    ``codes`` is Codes, or an array that stands for the values and, if it has integers, for the indices too. The first
    ``n_train`` rows train the classifiers and the rest test them; None keeps the last third (rounded down) for testing,
    the proportion of Locatello et al. (``tripod2024`` splits the training rows once more and never reads the rest).
    ``rng`` in 0..2**32-1 decides between equally good splits, and seeds the random forests.

    The scores are disentanglement, completeness, informativeness and informativeness_train (in 0..1, higher is better;
    NaN where not defined). In place of the last two, the variant ``eastwood2018``, whose factors may be real numbers,
    has error and error_train (lower is better; guessing the mean gives 1). The array is importance [d, k] (columns sum
    to 1, or to 0 if no latent helps). docs/metrics/dci.md describes the scores of degenerate codes and factors.

    Raises ``BenchError`` for input that as_arrays rejects, codes too large for float32, fewer than two training rows,
    indices of another shape than the values, ``rng`` out of range, and an unknown ``variant``. Source: Eastwood &
    Williams 2018, section 2; Locatello et al. 2019, appendix C. Code: ``locatello2019``,
    google-research/disentanglement_lib on GitHub, disentanglement_lib/evaluation/metrics/dci.py; ``factorqvae2024``,
    ituvisionlab/FactorQVAE, metrics/dci.py; ``tripod2024``, kylehkhsu/tripod, disentangle/metrics/dci.py.
    """
    if variant not in CARD.variants:
        raise unknown("variant of dci", variant, CARD.variants)
    seed = as_seed(rng)
    notes: dict[str, str] = {}
    arrays = _read(codes, factors, n_train, variant, notes)
    train = arrays.factors[: arrays.n_train]
    varied = (train != train[:1]).any(axis=0)
    importance = np.zeros((arrays.values.shape[1], len(varied)))
    test_accuracy, train_accuracy = np.empty(0), np.empty(0)
    if varied.any():
        fit = _FITS.get(variant, _boosted)
        kept = Arrays(arrays.values, arrays.factors[:, varied], arrays.n_train)
        importance[:, varied], test_accuracy, train_accuracy = fit(kept, seed, notes)
    if not varied.all():
        named = ", ".join(str(j) for j in np.flatnonzero(~varied))
        notes["factors"] = f"left out of every score, constant over the training rows: {named}"
    on_test, on_train = [card.name for card in CARD.scores_of(variant)][2:]
    scores = {
        "disentanglement": _concentration(importance[:, varied], "disentanglement", "factor varies", notes),
        "completeness": _concentration(importance[:, varied].T, "completeness", "latent", notes),
        on_test: _mean(test_accuracy, on_test, notes),
        on_train: _mean(train_accuracy, on_train, notes),
    }
    return MetricResult(scores, {"importance": importance}, notes)


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score an evaluation as ``dci`` does."""
    return dci(evaluation.codes, evaluation.factors, n_train=evaluation.n_train, variant=variant, rng=rng)


def _read(codes: Any, factors: Any, n_train: int | None, variant: str, notes: dict[str, str]) -> Arrays:
    """Return the checked codes in the form that the variant reads, the factors, and the number of training rows."""
    values = codes
    if isinstance(codes, Codes):
        values = codes.values
        if codes.indices is not None:
            shapes = as_codes(codes.values).shape, as_codes(codes.indices).shape
            if shapes[0] != shapes[1]:
                raise BenchError(
                    f"the codes' values have shape {list(shapes[0])} and their indices {list(shapes[1])}; both must "
                    "be [n, d], a symbol for every value."
                )
            if variant == "factorqvae2024":
                values = codes.indices
    arrays = as_arrays(values, factors, n_train, real_factors=variant == "eastwood2018")
    if variant == "factorqvae2024" and arrays.values.dtype.kind == "f":
        notes["codes"] = "the codes have no indices: their values were read"
    n = len(arrays.values)
    rows = n - n // 3 if n_train is None else arrays.n_train
    if rows < 2:
        raise BenchError(f"{rows} of {n} rows are for training; dci needs two or more: give more rows or n_train.")
    return Arrays(arrays.values, arrays.factors, rows)


def _boosted(arrays: Arrays, rng: int, notes: dict[str, str]) -> _Fit:
    from disentangle_bench.metrics import _trees as trees

    rows = arrays.n_train
    train, test = arrays.factors[:rows], arrays.factors[rows:]
    fitted = trees.fit(arrays.values[:rows], train, seed=rng)
    notes["splits"] = f"exact, by {'histograms of the distinct values' if fitted.binned else 'sorted lists'}"
    train_accuracy = (fitted.labels(fitted.train_decision) == train).mean(axis=0)
    if len(test) == 0:
        notes["informativeness"] = "not defined: no test rows"
        return fitted.importance, np.empty(0), train_accuracy
    _note_unseen(train, test, notes)
    labels = fitted.labels(fitted.decision(arrays.values[rows:]))
    return fitted.importance, (labels == test).mean(axis=0), train_accuracy


def _forest(arrays: Arrays, rng: int, notes: dict[str, str]) -> _Fit:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    rows = arrays.n_train
    scaled = StandardScaler().fit_transform(arrays.values[:rows].astype(np.float64))
    codes, held_codes, factors, held = train_test_split(scaled, arrays.factors[:rows], test_size=0.1, random_state=42)
    notes["split"] = f"fitted on {len(codes)} of the {rows} training rows, scored on the other {len(held)}"
    _note_unseen(factors, held, notes)
    forests = []
    for factor in factors.T:
        forest = RandomForestClassifier(100, criterion="entropy", max_depth=10, random_state=rng)
        forests.append(forest.fit(codes, factor))
    importance = np.stack([forest.feature_importances_ for forest in forests], axis=1)

    def accuracy(points: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.array([forest.score(points, column) for forest, column in zip(forests, labels.T, strict=True)])

    return importance, accuracy(held_codes, held), accuracy(codes, factors)


def _regressors(arrays: Arrays, rng: int, notes: dict[str, str]) -> _Fit:
    """Return importances of random-forest regressors, and their errors relative to guessing the training rows' mean."""
    from sklearn.ensemble import RandomForestRegressor

    rows = arrays.n_train
    importance = np.empty((arrays.values.shape[1], arrays.factors.shape[1]))
    errors = np.full((2, arrays.factors.shape[1]), np.nan)
    for j, factor in enumerate(arrays.factors.T.astype(np.float64)):
        forest = RandomForestRegressor(100, max_depth=10, random_state=rng, n_jobs=available())
        forest.fit(arrays.values[:rows], factor[:rows])
        importance[:, j] = forest.feature_importances_
        for part, where in enumerate((slice(rows, None), slice(rows))):
            guess = factor[where] - factor[:rows].mean()
            if len(guess) and guess.any():
                miss = factor[where] - forest.predict(arrays.values[where])
                errors[part, j] = np.sqrt((miss**2).sum() / (guess**2).sum())
    if rows == len(arrays.values):
        notes["error"] = "not defined: no test rows"
        return importance, np.empty(0), errors[1]
    return importance, errors[0], errors[1]


_FITS = {"tripod2024": _forest, "eastwood2018": _regressors}


def _note_unseen(train: npt.NDArray[np.int64], test: npt.NDArray[np.int64], notes: dict[str, str]) -> None:
    unseen = sum(int((~np.isin(y, np.unique(x))).sum()) for x, y in zip(train.T, test.T, strict=True))
    if unseen:
        notes["informativeness"] = (
            f"{unseen} of {test.size} test labels never occur in the rows that the classifier was fitted on; they "
            "count as errors"
        )


def _concentration(importance: npt.NDArray[np.float64], score: str, of: str, notes: dict[str, str]) -> float:
    """Return 1 - entropy (base c) of the rows of [r, c], averaged with the rows' sums as weights; 0 if all are zero."""
    c = importance.shape[1]
    if importance.size == 0:
        notes[score] = "not defined: no factor varies"
        return float("nan")
    if c < 2:
        notes[score] = f"not defined: only one {of}"
        return float("nan")
    if importance.sum() == 0:
        notes[score] = "0: no latent helps to tell any factor"
        return 0.0
    share = importance + 1e-11  # as the code of Locatello et al. does; keeps the logarithm finite
    share /= share.sum(axis=1, keepdims=True)
    rows = 1 + (share * np.log(share)).sum(axis=1) / np.log(c)
    return float((rows * importance.sum(axis=1)).sum() / importance.sum())


def _mean(by_factor: npt.NDArray[np.float64], score: str, notes: dict[str, str]) -> float:
    if len(by_factor) == 0:
        notes.setdefault(score, "not defined: no factor varies")
        return float("nan")
    return float(by_factor.mean())
