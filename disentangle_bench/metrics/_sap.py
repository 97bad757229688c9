"""SAP, the separated attribute predictability (Kumar et al. 2018), computed as by Locatello et al. (2019)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics.inputs import as_arrays, as_seed
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard, mean_over_factors

CARD = MetricCard(
    name="sap",
    version=1,
    paper="Kumar et al. 2018, Variational inference of disentangled latent concepts, section 3; Locatello et al. 2019",
    summary="Gap in test accuracy between the two latents that best predict a factor, mean over factors",
    scores=(ScoreCard("score", True, "mean accuracy gap"),),
    variants={"locatello2019": "a linear SVM (C = 0.01, balanced classes) for every latent and factor"},
    permutations=1,
)


def sap(codes: Any, factors: Any, *, n_train: int | None = None, rng: int = 0) -> MetricResult:
    """Return SAP of ``codes`` (values [n, d]) and ``factors`` [n, k], fitted on the first ``n_train`` rows and scored
    on the rest.

    If ``n_train`` is None or n, all rows serve for both, and a note says so. The score is ``score`` in [0, 1]; the
    arrays are ``accuracy`` [k, d] and ``gaps`` [k]. If there is only one latent, the second-best accuracy is 0. A
    factor that is constant over the training rows is left out (NaN); if all are, the score is NaN. ``rng`` seeds the
    solver.

    Raises ``BenchError`` for input that as_arrays rejects. Source: Kumar et al. 2018, section 3; code of Locatello et
    al. 2019: google-research/disentanglement_lib on GitHub, disentanglement_lib/evaluation/metrics/sap_score.py.
    """
    arrays = as_arrays(codes, factors, n_train)
    values, labels, rows = arrays.values.astype(np.float64), arrays.factors, arrays.n_train
    notes: dict[str, str] = {}
    seed = as_seed(rng)
    test = slice(rows, None)
    if rows == len(values):
        test = slice(None)
        notes["score"] = "fitted and scored on the same rows: there are no test rows"
    accuracy = np.full((labels.shape[1], values.shape[1]), np.nan)
    for i, label in enumerate(labels.T):
        if len(np.unique(label[:rows])) < 2:
            continue
        for j, value in enumerate(values.T):
            accuracy[i, j] = _accuracy(value[:rows], label[:rows], value[test], label[test], seed)
    ranked = np.sort(np.column_stack([np.zeros(len(accuracy)), accuracy]), axis=1)
    gaps = ranked[:, -1] - ranked[:, -2]
    return MetricResult({"score": mean_over_factors(gaps, notes)}, {"accuracy": accuracy, "gaps": gaps}, notes)


def _accuracy(value: Any, label: Any, test_value: Any, test_label: Any, rng: int) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(value[:, None], label)
    return float((machine.predict(test_value[:, None]) == test_label).mean())


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score an evaluation's values, fitting on the training rows and scoring on the test rows."""
    return sap(evaluation.codes, evaluation.factors, n_train=evaluation.n_train, rng=rng)
