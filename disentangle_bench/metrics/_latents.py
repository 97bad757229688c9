"""Facts about latents that need no factors: how many are active, and how many symbols they use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Evaluation
from disentangle_bench.errors import unknown
from disentangle_bench.metrics._information import entropy
from disentangle_bench.metrics.inputs import read_codes
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

CARD = MetricCard(
    name="latents",
    version=1,
    paper="Hsu et al. 2023, Disentanglement via latent quantization (which latents count as active)",
    summary="Number of active latents and, for discrete codes, the perplexity of the symbols used",
    scores=(
        ScoreCard("active", True, "number of active latents, the ones that InfoMEC keeps", "latents", ranked=False),
        ScoreCard("perplexity", True, "exp of the entropy of a latent's symbols, mean over latents", "symbols", False),
    ),
    variants={
        "hsu2023": "active: range > largest range / 20 (continuous), more than one symbol (discrete)",
        "hsu2023_training": "active: range > largest range / 8",
        "factorqvae2024": "active: as hsu2023",
        "tripod2024": "active: interquartile range > largest / 10 (continuous), > 0.1 (discrete, values in [-1, 1])",
    },
    permutations=0,
    needs_factors=False,
)


def active_latents(
    values: npt.NDArray[Any], symbols: npt.NDArray[Any] | None, variant: str = "hsu2023"
) -> npt.NDArray[np.bool_]:
    """Return a mask [d] of the latents that count as active in a variant of InfoMEC.

    ``values`` [n, d] are the latents' numbers, ``symbols`` [n, d] their symbols or None for continuous codes. If no
    latent varies, none is active. Raises BenchError for an unknown variant.
    """
    if variant not in CARD.variants:
        raise unknown("variant of latents", variant, CARD.variants)
    values = np.asarray(values, dtype=np.float64)
    extent = np.ptp(values, axis=0)
    if variant == "tripod2024":
        quartiles = np.percentile(values, [25, 75], axis=0)
        middle = quartiles[1] - quartiles[0]
        return np.asarray(middle > (0.1 if symbols is not None else middle.max() / 10))
    if variant == "hsu2023_training":
        return np.asarray(extent > extent.max() / 8)
    if symbols is not None:
        return np.asarray((symbols != symbols[:1]).any(axis=0))
    return np.asarray(extent > extent.max() / 20)


def latents(codes: Any, *, discrete: bool | None = None, variant: str = "hsu2023") -> MetricResult:
    """Return the number of active latents and the latents' symbol perplexity, over all rows given.

    ``codes`` is Codes, or an array [n, d] with ``discrete`` saying whether its numbers are symbols. The scores are
    ``active`` (latents) and ``perplexity`` (symbols: exp of the entropy in nats, mean over all latents, including
    inactive ones; NaN for continuous codes); the arrays are ``active_latents`` [d] and ``perplexities`` [d]. The
    ``variant`` of InfoMEC decides which latents are active.

    Raises ``BenchError`` for input that is not codes and for an unknown ``variant``. Source: Hsu et al. 2023 (arXiv
    2305.18378), kylehkhsu/latent_quantization on GitHub, disentangle/metrics, for active latents.
    """
    checked = read_codes(codes, discrete)
    active = active_latents(checked.values, checked.indices, variant)
    perplexities = np.full(checked.values.shape[1], np.nan)
    notes = {}
    if checked.indices is None:
        notes["perplexity"] = "not defined: continuous codes have no symbols"
    else:
        perplexities = np.exp([entropy(column) for column in checked.indices.T])
    scores = {"active": float(active.sum()), "perplexity": float(perplexities.mean())}
    return MetricResult(scores, {"active_latents": active, "perplexities": perplexities}, notes)


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score all rows of an evaluation; ``rng`` is not used."""
    return latents(evaluation.codes, variant=variant)
