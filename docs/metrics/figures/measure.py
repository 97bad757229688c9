"""Prints the numbers that the pages on metrics quote, from the golden files and from made-up codes.

python docs/metrics/figures/measure.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disentangle_bench.metrics import beta_vae_score, factor_vae_score, infomec, latents, mig, modularity, sap
from disentangle_bench.metrics._infomec import CARD
from disentangle_bench.metrics._latents import CARD as LATENTS

GOLDEN = Path(__file__).parents[3] / "tests" / "golden" / "metrics"
SCORES = ("modularity", "explicitness", "explicitness_heldout", "compactness")


def load(name: str) -> tuple[np.ndarray, np.ndarray, bool, int]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return stored["codes"], stored["factors"], bool(stored["discrete"]), int(stored["n_train"])


def infomec_variants() -> None:
    print("InfoMEC: codes | variant | active | " + " | ".join(SCORES))
    for name in ("collapsed_continuous", "full_continuous", "full_discrete64", "noise_discrete16"):
        codes, factors, discrete, n_train = load(name)
        for variant in [name for name in CARD.variants if name != "heldout2026"]:  # hsu2023's numbers, renamed
            found = infomec(codes, factors, discrete=discrete, n_train=n_train, variant=variant)
            figures = " | ".join(f"{found[score]:.3f}" for score in SCORES)
            print(f"| `{name}` | `{variant}` | {found['active'].sum()} | {figures} |")


def locatello() -> None:
    print("others: codes | mig | modularity | sap | factor_vae_score | beta_vae_score")
    for name in ("collapsed_continuous", "full_continuous", "full_discrete64", "noise_discrete16", "perfect_discrete"):
        codes, factors, _, n_train = load(name)
        found = [metric(codes, factors, n_train=n_train)["score"] for metric in (mig, modularity, sap)]
        found += [metric(codes, factors, n_train=n_train)["score"] for metric in (factor_vae_score, beta_vae_score)]
        print(f"| `{name}` | " + " | ".join(f"{value:.3f}" for value in found) + " |")


def outliers() -> None:
    codes, factors, _, n_train = load("full_continuous")
    far = codes.copy()
    far[0] = 100 * np.abs(codes).max(axis=0)
    for metric in (mig, modularity):
        before, after = (metric(array, factors, n_train=n_train)["score"] for array in (codes, far))
        print(f"{metric.__name__} of full_continuous {before:.3f}, with one row far out {after:.3f}")


def units() -> None:
    codes, factors, _, n_train = load("full_continuous")
    for unit in (1, 0.1, 0.01):
        found = [metric(codes * unit, factors, n_train=n_train)["score"] for metric in (sap, beta_vae_score)]
        print(f"full_continuous times {unit}: sap {found[0]:.3f}, beta_vae_score {found[1]:.3f}")


def few_rows() -> None:
    codes, factors, _, _ = load("mpi3d_continuous")
    print("mpi3d_continuous, rows kept: factor_vae_score, beta_vae_score")
    for rows in (3000, 1500, 600, 300, 150):
        n_train = 2 * rows // 3
        found = [m(codes[:rows], factors[:rows], n_train=n_train)["score"] for m in (factor_vae_score, beta_vae_score)]
        print(f"{rows}: {found[0]:.3f}, {found[1]:.3f}")
    spread = [factor_vae_score(codes, factors, n_train=2000, rng=seed)["score"] for seed in range(5)]
    print(f"factor_vae_score over five seeds: {min(spread):.3f} to {max(spread):.3f}")


def active() -> None:
    for name in ("collapsed_continuous", "full_discrete64"):
        codes, _, discrete, _ = load(name)
        found = {v: latents(codes, discrete=discrete, variant=v) for v in LATENTS.variants}
        print(name, {v: int(one["active"]) for v, one in found.items()}, f"{found['hsu2023']['perplexity']:.1f}")


def tie_breaking() -> None:
    codes, factors, _, n_train = load("collapsed_continuous")
    found = [infomec(codes, factors, discrete=False, n_train=n_train, rng=seed) for seed in range(10)]
    for score in ("modularity", "compactness"):
        values = [one[score] for one in found]
        print(f"collapsed_continuous, ten seeds of the noise: {score} spreads over {max(values) - min(values):.1e}")


def main() -> None:
    infomec_variants()
    locatello()
    outliers()
    units()
    few_rows()
    active()
    tie_breaking()


if __name__ == "__main__":
    main()
