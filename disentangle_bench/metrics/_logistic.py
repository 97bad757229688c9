"""Unregularised multinomial logistic regression of factors on codes: the probe of InfoMEC's explicitness.

It follows scikit-learn's ``LogisticRegression(C=inf, class_weight="balanced", max_iter=...)`` step by step, with the
same mean weighted log loss, starting point, scipy L-BFGS and stopping rule. This matters because one-hot codes often
separate the classes, so that no optimum exists and the iteration cap decides the score. It is faster because one-hot
codes are never formed (a row's logits are a sum of d rows of the coefficients) and one pass computes both loss and
gradient. No BLAS is called on the data, so that results do not depend on the number of threads.

Import this module inside functions: it needs numba and scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from disentangle_bench.cores import available
from disentangle_bench.errors import BenchError
from disentangle_bench.jit import njit

# What scikit-learn passes to scipy's L-BFGS-B for LogisticRegression with its default tol.
_GRADIENT_TOLERANCE = 1e-4
_LOSS_TOLERANCE = 64 * np.finfo(np.float64).eps
_LINE_SEARCH_STEPS = 50

# Rows whose logits are computed at a time, few enough to stay in the second-level cache. It must not depend on the
# machine, because the order in which the loss is summed depends on it.
_BLOCK = 4096


@dataclass(frozen=True)
class Features:
    """Codes in the form that the probe reads.

    For discrete codes, ``columns`` [n, d] is the one-hot column (of ``width``) of each symbol, -1 for a symbol that has
    none. For continuous codes, ``values`` [n, d] are the standardised codes. The other of the two is empty.
    """

    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    width: int

    @staticmethod
    def one_hot(symbols: npt.NDArray[Any], seen: npt.NDArray[Any]) -> Features:
        """Return one-hot features of the symbols [n, d]; a symbol that is not in ``seen`` [m, d] has no column."""
        columns = np.full(symbols.shape, -1, dtype=np.int64)
        width = 0
        for j in range(symbols.shape[1]):
            alphabet = np.unique(seen[:, j])
            index = np.minimum(np.searchsorted(alphabet, symbols[:, j]), len(alphabet) - 1)
            known = alphabet[index] == symbols[:, j]
            columns[known, j] = width + index[known]
            width += len(alphabet)
        return Features(columns, np.empty((0, 0)), width)

    @staticmethod
    def scaled(values: npt.NDArray[np.float64]) -> Features:
        """Return features that are the standardised codes [n, d] themselves."""
        return Features(np.empty((0, 0), dtype=np.int64), np.ascontiguousarray(values), values.shape[1])

    def part(self, rows: Any) -> Features:
        """Return the rows that a slice or an array of row numbers picks."""
        return Features(
            np.ascontiguousarray(self.columns[rows]) if len(self.columns) else self.columns,
            np.ascontiguousarray(self.values[rows]) if len(self.values) else self.values,
            self.width,
        )

    @property
    def rows(self) -> int:
        """Number of rows n."""
        return max(len(self.columns), len(self.values))


@njit(nogil=True)
def _logits(columns, values, coefficients, start, out):  # type: ignore[no-untyped-def]
    """Write logits of rows start.. minus each row's largest to out [rows, c]; the last coefficients are intercepts."""
    classes = coefficients.shape[1]
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = coefficients[-1]
        for j in range(columns.shape[1]):
            column = columns[start + i, j]
            if column >= 0:
                for c in range(classes):
                    row[c] += coefficients[column, c]
        for j in range(values.shape[1]):
            value = values[start + i, j]
            for c in range(classes):
                row[c] += value * coefficients[j, c]
        top = row[0]
        for c in range(1, classes):
            top = max(top, row[c])
        for c in range(classes):
            row[c] -= top


@njit(nogil=True)
def _accumulate(columns, values, labels, weights, start, logits, exponentials, gradient):  # type: ignore[no-untyped-def]
    """Add the rows' weighted gradient to ``gradient`` [width + 1, c] and return their weighted loss."""
    rows, classes = logits.shape
    loss = 0.0
    for i in range(rows):
        row = exponentials[i]
        total = 0.0
        for c in range(classes):
            total += row[c]
        label = labels[start + i]
        weight = weights[label]
        loss += weight * (np.log(total) - logits[i, label])
        scale = weight / total
        for c in range(classes):
            row[c] *= scale
        row[label] -= weight
        for c in range(classes):
            gradient[-1, c] += row[c]
        for j in range(columns.shape[1]):
            column = columns[start + i, j]
            if column >= 0:
                for c in range(classes):
                    gradient[column, c] += row[c]
        for j in range(values.shape[1]):
            value = values[start + i, j]
            for c in range(classes):
                gradient[j, c] += value * row[c]
    return loss


def fit(features: Features, labels: npt.NDArray[np.int64], classes: int, max_iter: int) -> npt.NDArray[np.float64]:
    """Fit ``labels`` [n] in 0..classes-1 and return the coefficients [width + 1, classes]; the last row is intercepts.

    Raises ``BenchError`` unless there are at least two classes that all occur. With two classes, the first one's
    coefficients are zero, as in scikit-learn: the start and the path of L-BFGS depend on it, and so does a capped fit.
    """
    counts = np.bincount(labels, minlength=classes)
    if classes < 2 or counts.min() == 0:
        raise BenchError(
            f"logistic regression needs at least two classes that all occur; rows by class: {counts.tolist()}."
        )
    n = features.rows
    weights = n / (classes * counts)  # scikit-learn's class_weight="balanced"; they sum to n over the rows
    free = slice(1, 2) if classes == 2 else slice(None)
    shape = (features.width + 1, classes)
    rows = min(n, _BLOCK)
    logits, exponentials = np.empty((rows, classes)), np.empty((rows, classes))

    def loss_and_gradient(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        coefficients, gradient, loss = np.zeros(shape), np.zeros(shape), 0.0
        coefficients[:, free] = flat.reshape(shape[0], -1)
        for start in range(0, n, _BLOCK):
            block, powers = logits[: n - start], exponentials[: n - start]
            _logits(features.columns, features.values, coefficients, start, block)
            np.exp(block, out=powers)  # numpy's exp is vectorised, numba's is not
            loss += _accumulate(features.columns, features.values, labels, weights, start, block, powers, gradient)
        return loss / n, gradient[:, free].ravel() / n

    minimum = minimize(
        loss_and_gradient,
        np.zeros(shape)[:, free].ravel(),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": max_iter,
            "maxls": _LINE_SEARCH_STEPS,
            "gtol": _GRADIENT_TOLERANCE,
            "ftol": _LOSS_TOLERANCE,
        },
    )
    coefficients = np.zeros(shape)
    coefficients[:, free] = minimum.x.reshape(shape[0], -1)
    return coefficients


def log_loss(
    features: Features, labels: npt.NDArray[np.int64], coefficients: npt.NDArray[np.float64], *, clip: bool = True
) -> float:
    """Return the mean negative log-likelihood of ``labels`` [n] in nats, with equal weight on every row.

    With ``clip``, probabilities are kept above float64's epsilon, as in scikit-learn's ``log_loss``, so that a
    confident wrong answer costs 36 nats. Without it, such an answer costs as much as its logit implies.
    """
    logits = np.empty((features.rows, coefficients.shape[1]))
    _logits(features.columns, features.values, coefficients, 0, logits)
    powers = np.exp(logits)
    rows = np.arange(len(labels))
    if not clip:
        return float((np.log(powers.sum(axis=1)) - logits[rows, labels]).mean())
    floor = np.finfo(np.float64).eps
    probabilities = np.clip(powers / powers.sum(axis=1, keepdims=True), floor, 1 - floor)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return float(-np.log(probabilities[rows, labels]).mean())


def probe_losses(
    symbols: npt.NDArray[np.int64] | None,
    scaled: npt.NDArray[np.float64] | None,
    rows: int,
    tasks: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]],
    iterations: int,
    *,
    clip: bool = True,
) -> npt.NDArray[np.float64]:
    """Return the mean log loss in nats of a probe for each task, on its training and its test rows: [k, 2].

    The probes read one-hot ``symbols`` [n, d], or ``scaled`` values [n, d] if there are none, and are fitted on the
    first ``rows`` rows. A task consists of labels [n] in 0..classes-1 (valid for training and test rows), the test
    rows' numbers, and the number of classes. A loss is NaN if there is only one class or no test row. ``clip`` is
    passed on to ``log_loss``.
    """
    if symbols is not None:
        features = Features.one_hot(symbols, symbols[:rows])
    else:
        assert scaled is not None
        features = Features.scaled(scaled)
    train = features.part(slice(0, rows))

    def losses(task: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]) -> tuple[float, float]:
        labels, test, classes = task
        if classes < 2:
            return np.nan, np.nan
        coefficients = fit(train, labels[:rows], classes, iterations)
        fitted = log_loss(train, labels[:rows], coefficients, clip=clip)
        if len(test) == 0:
            return fitted, np.nan
        return fitted, log_loss(features.part(test), labels[test], coefficients, clip=clip)

    # Factors are independent, so using a thread per processor changes no result. BLAS is kept to one thread: L-BFGS
    # calls it on short vectors, where more threads cost more than they save (measured: five times slower).
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available()) as pool:
        return np.array(list(pool.map(losses, tasks)))
