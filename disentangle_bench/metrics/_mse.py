"""Reconstruction error on images in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.codes import Evaluation
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard

CARD = MetricCard(
    name="mse",
    version=1,
    paper="none: the mean squared error, and the peak signal-to-noise ratio made of it",
    summary="Mean squared reconstruction error over images, pixels and channels, images in [0, 1]",
    scores=(
        ScoreCard("mse", False, "mean squared error, images in [0, 1]"),
        ScoreCard("psnr", True, "peak signal-to-noise ratio of the mean squared error", "dB"),
    ),
    variants={
        "heldout": "the mean over all rows of the evaluation sample, which the protocol keeps from training",
        "factorqvae2024": "the same mean; the sample is drawn from the whole dataset, training images included",
    },
    permutations=0,
    needs_factors=False,
)


def mse(squared_error: Any) -> MetricResult:
    """Return the scores ``mse`` and ``psnr`` of images: ``squared_error`` [n] is the mean squared error of each.

    psnr = -10 log10(mse) in dB, infinite if all images are perfect. It is computed from the mean error rather than
    averaged over images, since a single perfect image would make that average infinite.

    Raises ``BenchError`` if there are no errors, or if one is negative or not finite.
    """
    errors = np.asarray(squared_error, dtype=np.float64)
    if errors.ndim != 1 or len(errors) == 0:
        raise BenchError(f"squared_error has shape {list(errors.shape)}; one error per image is needed, shape [n].")
    bad = ~(np.isfinite(errors) & (errors >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise BenchError(
            f"squared_error holds {errors[row]} at row {row}; every image's error must be finite and not negative: a "
            "model that reconstructs NaN has not trained, drop its run."
        )
    mean = float(errors.mean())
    return MetricResult({"mse": mean, "psnr": float(-10 * np.log10(mean)) if mean > 0 else float("inf")})


def score(evaluation: Evaluation, *, variant: str, rng: int) -> MetricResult:
    """Score an evaluation's squared errors; NaN if it has none. Variants differ only in the sample."""
    if evaluation.squared_error is None:
        reason = "not defined: these codes came without reconstructed images"
        return MetricResult({"mse": float("nan"), "psnr": float("nan")}, {}, {"mse": reason, "psnr": reason})
    return mse(evaluation.squared_error)
