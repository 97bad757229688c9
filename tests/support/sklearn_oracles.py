"""DCI and InfoMEC's estimators by scikit-learn's own calls, as the original implementations make them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def plug_in_information(symbols: npt.NDArray[Any], factors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """As ``_information.plug_in_information``: [k, d] in nats."""
    from sklearn.metrics import mutual_info_score

    return np.array([[mutual_info_score(label, code) for code in symbols.T] for label in factors.T])


def nearest_neighbour_information(
    values: npt.NDArray[np.float64], factors: npt.NDArray[Any], neighbours: int, rng: int
) -> npt.NDArray[np.float64]:
    """As ``_information.nearest_neighbour_information``: [k, d] in nats, one call for each pair.

    0 where no factor value occurs twice, which scikit-learn refuses.
    """
    from sklearn.feature_selection import mutual_info_classif

    information = np.zeros((factors.shape[1], values.shape[1]))
    for i, label in enumerate(factors.T):
        if len(np.unique(label)) == len(label):
            continue
        for j, code in enumerate(values.T):
            information[i, j] = mutual_info_classif(
                code[:, None], label, discrete_features=False, n_neighbors=neighbours, random_state=rng
            )[0]
    return information


def probe_losses(
    symbols: npt.NDArray[np.int64] | None,
    scaled: npt.NDArray[np.float64] | None,
    rows: int,
    tasks: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]],
    iterations: int,
) -> npt.NDArray[np.float64]:
    """As ``_logistic.probe_losses``: mean log loss in nats of each task's training and test rows, [k, 2]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import OneHotEncoder

    if symbols is not None:
        # Dense, as in the originals: sparse one-hot codes take another path to the iteration cap.
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(symbols[:rows])
        features = encoder.transform(symbols)
    else:
        features = scaled
    losses = np.full((len(tasks), 2), np.nan)
    for i, (labels, test, classes) in enumerate(tasks):
        if classes < 2:
            continue
        # C=inf is no regularisation in every scikit-learn; penalty=None is on its way out.
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[:rows], labels[:rows])
        losses[i, 0] = log_loss(labels[:rows], model.predict_proba(features[:rows]), labels=range(classes))
        if len(test):
            losses[i, 1] = log_loss(labels[test], model.predict_proba(features[test]), labels=range(classes))
    return losses


def boosted_trees(codes: npt.NDArray[Any], factors: npt.NDArray[Any], n_train: int) -> dict[str, Any]:
    """DCI's importance [d, k] and four scores from one classifier per factor, by the formulas of Locatello et al."""
    from scipy.stats import entropy
    from sklearn.ensemble import GradientBoostingClassifier

    models = [GradientBoostingClassifier(random_state=0).fit(codes[:n_train], y[:n_train]) for y in factors.T]
    importance = np.stack([model.feature_importances_ for model in models], axis=1)

    def concentration(matrix: npt.NDArray[np.float64]) -> float:
        by_row = 1 - entropy(matrix.T + 1e-11, base=matrix.shape[1])
        return float(np.average(by_row, weights=matrix.sum(axis=1)))

    def accuracy(rows: slice) -> float:
        if len(codes[rows]) == 0:
            return np.nan
        return float(np.mean([model.score(codes[rows], y[rows]) for model, y in zip(models, factors.T, strict=True)]))

    return {
        "importance": importance,
        "disentanglement": concentration(importance),
        "completeness": concentration(importance.T),
        "informativeness": accuracy(slice(n_train, None)),
        "informativeness_train": accuracy(slice(n_train)),
    }
