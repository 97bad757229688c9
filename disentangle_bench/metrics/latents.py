"""What can be said of latents without factors: how many are active, and how many symbols they use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from disentangle_bench.codes import Codes, Evaluation, MetricCard, MetricResult, ScoreCard
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.metrics.information import entropy, relabel
from disentangle_bench.metrics.inputs import as_codes

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
)


def read_codes(codes: Any, discrete: bool | None) -> Codes:
    """``codes`` as Codes of checked numpy arrays, symbols numbered from 0 by latent.

    An array [n, d] stands for the values, and if ``discrete`` for the symbols as well: its values then are the
    array divided so that the latent with the widest range spans 2, like a grid of scalars on [-1, 1] (the one rule
    that reads their scale, activity in ``tripod2024``, is made for such a grid).

    Raises BenchError if an array comes without ``discrete``, or Codes come with one that contradicts them, or values
    and indices differ in shape.
    """
    if isinstance(codes, Codes):
        if discrete is not None and bool(discrete) != codes.discrete:
            held = "symbols (indices)" if codes.discrete else "no symbols (indices is None)"
            raise BenchError(
                f"discrete is {discrete!r} and the codes hold {held}; leave discrete out, Codes say it themselves."
            )
        values = as_codes(codes.values)
        if codes.indices is None:
            return Codes(values)
        indices = as_codes(codes.indices)
        if indices.shape != values.shape:
            raise BenchError(
                f"the codes' values have shape {list(values.shape)} and their indices {list(indices.shape)}; both "
                "must be [n, d], a symbol for every value."
            )
        return Codes(values, relabel(indices))
    if discrete is None:
        raise BenchError(
            "discrete is None and codes is an array; an array does not say whether its numbers are symbols: pass "
            "discrete=True or discrete=False."
        )
    values = as_codes(codes)
    if not discrete:
        return Codes(values)
    widest = float(np.ptp(values.astype(np.float64), axis=0).max())
    return Codes(values * (2.0 / widest) if widest else values, relabel(values))


def active_latents(
    values: npt.NDArray[Any], symbols: npt.NDArray[Any] | None, variant: str = "hsu2023"
) -> npt.NDArray[np.bool_]:
    """Which latents [d] count as active in a variant of InfoMEC.

    ``values`` [n, d] are the latents' numbers, ``symbols`` [n, d] their symbols or None for continuous codes. With
    no spread anywhere, no latent is active. Raises BenchError for an unknown variant.
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


def latents(codes: Any, *, discrete: bool | None = None, variant: str = "hsu2023") -> dict[str, Any]:
    """Number of active latents and their symbols' perplexity, over all rows given.

    ``codes`` is Codes, or an array [n, d] with ``discrete`` saying whether its numbers are symbols. Gives
    ``active`` (latents), ``perplexity`` (symbols: exp of the entropy in nats, mean over all latents, inactive ones
    too; NaN for continuous codes), ``active_latents`` [d] and ``perplexities`` [d]. Raises BenchError for input that
    is no codes and for an unknown variant.
    """
    given = read_codes(codes, discrete)
    active = active_latents(given.values, given.indices, variant)
    perplexities = np.full(given.values.shape[1], np.nan)
    if given.indices is not None:
        perplexities = np.exp([entropy(column) for column in given.indices.T])
    return {
        "active": float(active.sum()),
        "perplexity": float(perplexities.mean()),
        "active_latents": active,
        "perplexities": perplexities,
    }


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score all rows of an evaluation; ``rng`` is not used."""
    found = latents(evaluation.codes, variant=variant)
    notes = {} if evaluation.codes.discrete else {"perplexity": "not defined: continuous codes have no symbols"}
    return MetricResult(
        {"active": found["active"], "perplexity": found["perplexity"]},
        {"active": found["active_latents"], "perplexity": found["perplexities"]},
        notes,
    )
