"""The FactorVAE score (Kim & Mnih 2018), as computed by Locatello et al. (2019) but from stored rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Evaluation
from disentangle_bench.metrics._fixed_factor import FixedFactorRows, usable_factors
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard, as_arrays, as_seed

BATCH = 64
TRAIN_VOTES = 10_000
TEST_VOTES = 5_000
_CHUNK = 1_000  # batches whose codes are gathered at once

CARD = MetricCard(
    name="factor_vae_score",
    version=1,
    paper="Kim & Mnih 2018, Disentangling by factorising, section 4; Locatello et al. 2019",
    summary="Accuracy of a majority vote that names the fixed factor from the latent that varies least",
    scores=(ScoreCard("score", True, "test accuracy"),),
    variants={"locatello2019": "10,000 training and 5,000 test votes of 64 rows, drawn from the evaluation rows"},
)


def factor_vae_score(codes: Any, factors: Any, *, n_train: int | None = None, rng: int = 0) -> MetricResult:
    """FactorVAE score of codes' values [n, d] and factors [n, k].

    A vote fixes a random factor at the value of a random row, draws 64 rows of that value with replacement, and is
    cast by the latent whose variance among them, relative to its variance over the training rows, is smallest.
    Votes from the first ``n_train`` rows say which factor each latent stands for; votes from the rest test it. With
    ``n_train`` None or n both come from all rows, as a note says. Latents that do not vary cast no vote.

    The score is ``score`` (test accuracy; NaN if no latent varies), the array ``votes`` [d, k] of the training. Raises
    BenchError for input that as_arrays refuses and for fewer than two factors that can be held fixed.
    """
    arrays = as_arrays(codes, factors, n_train)
    rows = arrays.n_train
    values, labels = arrays.values.astype(np.float64), arrays.factors
    test = slice(rows, None) if rows < len(values) else slice(None)
    parts = [FixedFactorRows(labels[:rows]), FixedFactorRows(labels[test])]
    usable, notes = usable_factors(parts, labels.shape[1], CARD.name)
    if rows == len(values):
        notes["score"] = "trained and tested on the same rows: there are no test rows"
    variances = values[:rows].var(axis=0)
    active = np.flatnonzero(variances > 0)
    votes = np.zeros((values.shape[1], labels.shape[1]), dtype=np.int64)
    if len(active) == 0:
        notes["score"] = "not defined: no latent varies"
        return MetricResult({"score": float("nan")}, {"votes": votes}, notes)
    generator = np.random.default_rng(as_seed(rng))
    scaled = values[:, active] / np.sqrt(variances[active])
    votes[active] = _votes(scaled[:rows], parts[0], usable, labels.shape[1], TRAIN_VOTES, generator)
    tested = np.zeros_like(votes)
    tested[active] = _votes(scaled[test], parts[1], usable, labels.shape[1], TEST_VOTES, generator)
    named = votes.argmax(axis=1)  # a latent without votes names the first factor, as in the original
    accuracy = float(tested[np.arange(len(tested)), named].sum() / TEST_VOTES)
    return MetricResult({"score": accuracy}, {"votes": votes}, notes)


def _votes(
    scaled: npt.NDArray[np.float64],
    rows: FixedFactorRows,
    usable: list[int],
    factors: int,
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """How often each latent varied least [d], by the factor that was fixed [k]."""
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
