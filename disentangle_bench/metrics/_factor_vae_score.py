"""The FactorVAE score (Kim & Mnih 2018), computed as by Locatello et al. (2019) but from stored rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics._fixed_factor import FixedFactorRows, halves
from disentangle_bench.metrics.inputs import as_seed
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

BATCH = 64
TRAIN_VOTES = 10_000
TEST_VOTES = 5_000
PRUNED_BELOW = 0.05  # standard deviation; ``prune_dims.threshold`` in all configurations of the study
_CHUNK = 1_000  # batches whose codes are gathered at a time

CARD = MetricCard(
    name="factor_vae_score",
    version=2,
    paper="Kim & Mnih 2018, Disentangling by factorising, section 4; Locatello et al. 2019",
    summary="Accuracy of a majority vote that names the fixed factor from the latent that varies least",
    scores=(ScoreCard("score", True, "test accuracy"),),
    variants={
        "locatello2019": "10,000 training and 5,000 test votes of 64 rows, drawn from the evaluation rows; "
        "latents of a standard deviation under 0.05 are left out"
    },
)


def factor_vae_score(codes: Any, factors: Any, *, n_train: int | None = None, rng: int = 0) -> MetricResult:
    """Return the FactorVAE score of ``codes`` (their values [n, d]) and ``factors`` [n, k].

    For each vote, a random factor is fixed at the value of a random row, and 64 rows with that value are drawn with
    replacement. The latent whose variance among them is smallest, relative to its variance over the training rows,
    casts the vote. Votes from the first ``n_train`` rows decide which factor each latent stands for; votes from the
    rest test it. If ``n_train`` is None or n, both come from all rows, and a note says so. Latents whose standard
    deviation over the training rows is under 0.05 cast no vote: the study's choice, which makes the score depend on
    the latents' scale.

    The score is ``score`` (test accuracy; 0 if no latent is left); the array is ``votes`` [d, k], the training votes.
    ``rng`` seeds the draws.

    Raises ``BenchError`` for input that as_arrays rejects and for fewer than two factors that can be held fixed.
    Source: Kim & Mnih 2018, section 4; code of Locatello et al. 2019: google-research/disentanglement_lib on GitHub,
    disentanglement_lib/evaluation/metrics/factor_vae.py, which draws new batches from all images.
    """
    data = halves(codes, factors, n_train, CARD.name)
    shape = (data.train.shape[1], data.factors)
    deviations = _deviations(data.train)
    active = np.flatnonzero(deviations >= PRUNED_BELOW)
    votes = np.zeros(shape, dtype=np.int64)
    if len(active) == 0:
        data.notes["score"] = f"0: no latent has a standard deviation of {PRUNED_BELOW} or more"
        return MetricResult({"score": 0.0}, {"votes": votes}, data.notes)
    generator = np.random.default_rng(as_seed(rng))
    train, test = (values[:, active] / deviations[active] for values in (data.train, data.test))
    votes[active] = _votes(train, data.parts[0], data.usable, data.factors, TRAIN_VOTES, generator)
    tested = np.zeros_like(votes)
    tested[active] = _votes(test, data.parts[1], data.usable, data.factors, TEST_VOTES, generator)
    named = votes.argmax(axis=1)  # a latent without votes names the first factor, as in the original
    accuracy = float(tested[np.arange(len(tested)), named].sum() / TEST_VOTES)
    return MetricResult({"score": accuracy}, {"votes": votes}, data.notes)


def _deviations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each latent [d], as the study estimates it; 0 for a single row."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def _votes(
    scaled: npt.NDArray[np.float64],
    rows: FixedFactorRows,
    usable: list[int],
    factors: int,
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return counts [d, k]: how often each latent varied least, by the factor that was fixed."""
    votes = np.zeros((scaled.shape[1], factors), dtype=np.int64)
    shares = rng.multinomial(count, np.full(len(usable), 1 / len(usable)))
    for factor, share in zip(usable, shares, strict=True):
        for start in range(0, int(share), _CHUNK):
            batch = scaled[rows.same_value(factor, min(_CHUNK, int(share) - start), BATCH, rng)]
            least = batch.var(axis=1).argmin(axis=1)
            votes[:, factor] += np.bincount(least, minlength=scaled.shape[1])
    return votes


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score an evaluation's values; ``rng`` seeds the draws."""
    return factor_vae_score(evaluation.codes, evaluation.factors, n_train=evaluation.n_train, rng=rng)
