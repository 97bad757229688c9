"""InfoMEC: modularity, explicitness and compactness of latents from mutual information (Hsu et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.errors import unknown
from disentangle_bench.metrics._information import (
    entropy,
    nearest_neighbour_information,
    plug_in_information,
    relabel,
    standardise,
)
from disentangle_bench.metrics._latents import active_latents
from disentangle_bench.metrics.inputs import as_arrays, as_codes, as_seed, read_codes
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

_PUBLISHED = ("hsu2023", "hsu2023_training", "factorqvae2024", "tripod2024")

CARD = MetricCard(
    name="infomec",
    version=1,
    paper="Hsu et al. 2023, Disentanglement via latent quantization (arXiv 2305.18378)",
    summary="InfoM, InfoE and InfoC from the normalised mutual information of factors and latents, and a linear probe",
    scores=(
        ScoreCard("modularity", True, "InfoM: each active latent tells of one factor only"),
        ScoreCard(
            "explicitness",
            True,
            "InfoE: entropy of a factor that a linear probe explains on its training rows",
            variants=_PUBLISHED,
        ),
        ScoreCard("explicitness_heldout", True, "the same probe scored on the test rows", variants=_PUBLISHED),
        ScoreCard(
            "explicitness",
            True,
            "InfoE of a probe fitted on training rows and scored on test rows",
            variants=("heldout2026",),
        ),
        ScoreCard(
            "explicitness_in_sample",
            True,
            "InfoE as papers quote it: the probe scored on its own training rows",
            ranked=False,
            variants=("heldout2026",),
        ),
        ScoreCard("compactness", True, "InfoC: each factor is told by one active latent only"),
    ),
    variants={
        "hsu2023": "the paper's stand-alone file: 10 neighbours, active range > max/20 or > 0, 100 iterations",
        "hsu2023_training": "what its runs logged: 3 neighbours, active range > max/8, 100 iterations on scalars, "
        "latents without information left out",
        "factorqvae2024": "3 neighbours, active range > max/20 or > 0, 500 iterations",
        "tripod2024": "10 neighbours, active IQR > max/10 or > 0.1, 100 iterations",
        "heldout2026": "as hsu2023, but explicitness is scored on test rows and the in-sample number is not ranked",
    },
    variant_versions={"hsu2023_training": 2},
)


@dataclass(frozen=True)
class _Choices:
    neighbours: int
    iterations: int
    activity: str  # the variant of ``active_latents``
    training: bool = False  # True if the choices are those of the training code, see ``_CHOICES``


_CHOICES = {
    "hsu2023": _Choices(10, 100, "hsu2023"),
    "hsu2023_training": _Choices(3, 100, "hsu2023_training", training=True),
    "factorqvae2024": _Choices(3, 500, "factorqvae2024"),
    "tripod2024": _Choices(10, 100, "tripod2024"),
    "heldout2026": _Choices(10, 100, "hsu2023"),
}
"""The choices of each variant. In the training code, the probe reads the standardised scalars of discrete codes that
have them, the log loss is not clipped, and a latent without information is left out of InfoM's mean.
"""


_EXPLICITNESS = {"heldout2026": ("explicitness_in_sample", "explicitness")}
"""Names of the probe's scores on its training rows and on the test rows, where they differ from the papers'."""


def infomec(
    codes: Any,
    factors: Any,
    *,
    discrete: bool | None = None,
    variant: str = "hsu2023",
    rng: int = 0,
    n_train: int | None = None,
) -> MetricResult:
    """Return InfoMEC of ``codes`` [n, d] and ``factors`` [n, k], integers.

    ``codes`` is Codes, or an array with ``discrete`` saying whether its numbers are symbols. Everything but the
    held-out explicitness is computed from the first ``n_train`` rows; None means all rows, which leaves no held-out
    explicitness (NaN). Mutual information is that of the indices of discrete codes and of the standardised values of
    continuous ones. The probe reads the same, except that ``hsu2023_training`` probes the standardised values of
    discrete codes whose values are more than the symbols' numbers. ``rng`` seeds the tie-breaking noise of the
    nearest-neighbour estimator.

    The scores are modularity, explicitness, explicitness_heldout and compactness (at most 1; higher is better). The
    arrays are nmi [k, d] (share of the factor's entropy), active [d] (bool), explicitness_by_factor [k] and
    explicitness_heldout_by_factor [k]. In the variant ``heldout2026``, explicitness is the held-out score, and
    explicitness_in_sample (with its by_factor) is the one on the training rows. docs/metrics/infomec.md describes the
    scores of degenerate codes.

    Raises ``BenchError`` for input that as_arrays rejects, ``discrete`` missing or contradicting Codes, ``rng`` that is
    not a seed, and an unknown ``variant``. Source: Hsu et al. 2023 (arXiv 2305.18378). Code: ``hsu2023`` and
    ``hsu2023_training``, kylehkhsu/latent_quantization on GitHub, disentangle/metrics; ``factorqvae2024``,
    ituvisionlab/FactorQVAE, metrics/infomec.py; ``tripod2024``, kylehkhsu/tripod, disentangle/metrics/infomec.py.
    """
    if variant not in _CHOICES:
        raise unknown("variant of infomec", variant, _CHOICES)
    choices = _CHOICES[variant]
    given = read_codes(codes, discrete)
    arrays = as_arrays(given.values, factors, n_train)
    rows = arrays.n_train
    train = Codes(given.values[:rows], given.indices[:rows] if given.indices is not None else None)
    labels = arrays.factors[:rows]
    active = active_latents(train.values, train.indices, choices.activity)
    varied = (labels != labels[:1]).any(axis=0)
    entropies = np.array(
        [entropy(column) if varies else 1.0 for column, varies in zip(relabel(labels).T, varied, strict=True)]
    )
    nmi = np.where(varied, 1 / entropies, 0.0)[:, None] * _information(train, labels, choices, as_seed(rng))
    probed = Codes(given.values) if choices.training and _has_scalars(codes) else given
    fitted, heldout = _explicitness(probed, arrays.factors, rows, choices)
    notes = _note_ties(train, active)
    if not varied.all():
        named = ", ".join(str(i) for i in np.flatnonzero(~varied))
        notes["factors"] = f"left out of every score, constant over the training rows: {named}"
    kept = nmi[varied][:, active]
    in_sample, on_test = _EXPLICITNESS.get(variant, ("explicitness", "explicitness_heldout"))
    scores = {
        "modularity": _modularity(kept, notes, leave_out=choices.training),
        in_sample: _mean(fitted, in_sample, "no factor varies", notes),
        on_test: _mean(heldout, on_test, "no test rows, or no factor varies", notes),
        "compactness": _compactness(kept, notes),
    }
    by_factor = {f"{in_sample}_by_factor": fitted, f"{on_test}_by_factor": heldout}
    scores = {card.name: scores[card.name] for card in CARD.scores_of(variant)}
    return MetricResult(scores, {"nmi": nmi, "active": active} | by_factor, notes)


def _has_scalars(codes: Any) -> bool:
    """Return whether discrete codes have values other than their symbols' numbers, such as a scalar codebook's."""
    if not isinstance(codes, Codes) or codes.indices is None:
        return False
    return not np.array_equal(as_codes(codes.values), as_codes(codes.indices))


def _note_ties(train: Codes, active: npt.NDArray[np.bool_]) -> dict[str, str]:
    """Return a note on active latents of continuous codes with more ties than rounding to float32 explains, if any."""
    if train.indices is not None:
        return {}
    tied = [j for j in np.flatnonzero(active) if len(np.unique(train.values[:, j])) < 0.95 * len(train.values)]
    if not tied:
        return {}
    named = ", ".join(map(str, tied))
    reason = "noise breaks the ties, which may move modularity and compactness by up to 0.2"
    return {"ties": f"many equal values in latents {named}: {reason}"}


def _information(train: Codes, labels: npt.NDArray[np.int64], choices: _Choices, rng: int) -> npt.NDArray[np.float64]:
    """Return the mutual information [k, d] in nats over the training rows."""
    if train.indices is not None:
        return plug_in_information(train.indices, labels)
    return nearest_neighbour_information(standardise(train.values, train.values), labels, choices.neighbours, rng)


def _explicitness(
    codes: Codes, factors: npt.NDArray[np.int64], rows: int, choices: _Choices
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the explained entropy of each factor [k] on the training and on the test rows; NaN where not defined.

    A test row whose factor value never occurs in the training rows is left out: no probe could have learnt it.
    """
    from disentangle_bench.metrics._logistic import probe_losses

    scaled = None if codes.indices is not None else standardise(codes.values, codes.values[:rows])
    tasks: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]] = []
    for column in factors.T:
        alphabet = np.unique(column[:rows])
        index = np.minimum(np.searchsorted(alphabet, column), len(alphabet) - 1)
        known = np.flatnonzero(alphabet[index] == column)
        tasks.append((index, known[known >= rows], len(alphabet)))
    losses = probe_losses(codes.indices, scaled, rows, tasks, choices.iterations, clip=not choices.training)
    null = np.array([np.log(classes) if classes > 1 else np.nan for _, _, classes in tasks])
    fitted = 1 - losses[:, 0] / null
    return fitted, np.maximum(1 - losses[:, 1] / null, 0.0)  # np.maximum keeps NaN


def _concentration(information: npt.NDArray[np.float64]) -> float:
    """Return the mean over rows [r, c] of the largest entry's share of its row, scaled so that even rows give 0.

    A row without information counts as even, and gives 0. A matrix without rows also gives 0.
    """
    if len(information) == 0:
        return 0.0
    total = information.sum(axis=1)
    even = 1 / information.shape[1]
    share = np.where(total > 0, information.max(axis=1) / np.where(total > 0, total, 1.0), even)
    return float(((share - even) / (1 - even)).mean())


def _modularity(nmi: npt.NDArray[np.float64], notes: dict[str, str], *, leave_out: bool) -> float:
    """Return InfoM of [k, d']; ``leave_out`` leaves out latents without information."""
    factors, latents = nmi.shape
    if factors < 2:
        notes["modularity"] = "not defined: fewer than two factors vary"
        return float("nan")
    if latents == 0:
        notes["modularity"] = "0: no latent is active"
        return 0.0
    return _concentration(nmi.T[nmi.any(axis=0)] if leave_out else nmi.T)


def _compactness(nmi: npt.NDArray[np.float64], notes: dict[str, str]) -> float:
    factors, latents = nmi.shape
    if factors == 0:
        notes["compactness"] = "not defined: no factor varies"
        return float("nan")
    if latents < 2:
        # The formula divides by zero. Not NaN, because a collapsed run would then drop out of a model's mean.
        notes["compactness"] = f"0: {'one latent is' if latents else 'no latent is'} active, two are needed"
        return 0.0
    return _concentration(nmi)


def _mean(by_factor: npt.NDArray[np.float64], score: str, reason: str, notes: dict[str, str]) -> float:
    defined = by_factor[~np.isnan(by_factor)]
    if len(defined) == 0:
        notes[score] = f"not defined: {reason}"
        return float("nan")
    return float(defined.mean())


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score an evaluation as ``infomec`` does; ``rng`` seeds the nearest-neighbour estimator's noise."""
    return infomec(evaluation.codes, evaluation.factors, variant=variant, rng=rng, n_train=evaluation.n_train)
