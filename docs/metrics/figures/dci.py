"""Measures what docs/metrics/dci.md states, prints it, and draws dci_behaviour.png beside this file.

python docs/metrics/figures/dci.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from disentangle_bench.metrics import dci

SCORES = ("disentanglement", "completeness", "informativeness", "informativeness_train")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#999999")
ANGLES = range(0, 91, 10)
SIZES = (300, 600, 1200, 2400, 4800)


def factors_of(n, sizes):
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, size, n) for size in sizes], axis=1)


def examples():
    """Name -> (codes, factors), 3,000 rows each: four factors of 4, 6, 8 and 10 values."""
    factors = factors_of(3000, (4, 6, 8, 10))
    rng = np.random.default_rng(1)
    noise = rng.normal(size=factors.shape)
    shuffled = np.stack([rng.permutation(size)[y] for size, y in zip((4, 6, 8, 10), factors.T, strict=True)], axis=1)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    return {
        "the factors": (factors, factors),
        "the factors, their values in a random order": (shuffled, factors),
        "the factors, and four latents of noise": (np.concatenate([factors, noise], axis=1), factors),
        "the factors, each in two latents": (np.tile(factors, 2), factors),
        "all factors in one latent, three constant": (
            np.concatenate([factors @ [[480], [80], [10], [1]], np.zeros((3000, 3))], axis=1),
            factors,
        ),
        "the factors, turned at random": ((factors / [4, 6, 8, 10]) @ turn, factors),
        "noise": (noise, factors),
    }


def rotation(angle):
    """Two factors of 8 values, with a little noise, in two latents turned by ``angle`` degrees."""
    factors = factors_of(1500, (8, 8))
    t = np.deg2rad(angle)
    codes = factors + 0.1 * np.random.default_rng(1).normal(size=factors.shape)
    return dci(codes @ np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]), factors)


def pure_noise(n):
    factors = factors_of(n, (4, 6, 8, 10))
    return dci(np.random.default_rng(1).normal(size=(n, 8)), factors)


def table(title, rows):
    print(f"\n{title}: {', '.join(SCORES)}")
    for name, found in rows.items():
        print(f"  {name:50s}" + "".join(f"{found[s]:8.3f}" for s in SCORES))


def draw(axes, x, results, scores):
    for score in scores:
        colour = COLOURS[SCORES.index(score)]
        # Disentanglement and completeness nearly coincide here: one is a broad line under the other.
        style = {"lw": 6, "alpha": 0.35} if score == "disentanglement" else {"lw": 1.5, "marker": "o", "ms": 3}
        axes.plot(x, [found[score] for found in results], color=colour, label=score.replace("_", ", "), **style)
    axes.set_ylim(-0.03, 1.03)
    axes.spines[["top", "right"]].set_visible(False)


def main():
    for variant in ("locatello2019", "tripod2024"):  # factorqvae2024 differs only for Codes with indices
        table(variant, {name: dci(codes, y, variant=variant) for name, (codes, y) in examples().items()})
    turned = [rotation(angle) for angle in ANGLES]
    table("rotation", dict(zip(map(str, ANGLES), turned, strict=True)))
    noise = [pure_noise(n) for n in SIZES]
    table("noise, by rows", dict(zip(map(str, SIZES), noise, strict=True)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    draw(left, ANGLES, turned, SCORES[:3])
    left.set(xlabel="rotation of a pair of latents, degrees", xticks=list(ANGLES), ylabel="score")
    left.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.5, 0.6))
    draw(right, SIZES, noise, SCORES)
    right.set(xlabel="rows (two thirds train), codes of pure noise", xscale="log", xticks=SIZES)
    right.set_xticks([], minor=True)
    right.set_xticklabels([str(n) for n in SIZES])
    right.legend(frameon=False, fontsize=8)
    figure.savefig(Path(__file__).with_name("dci_behaviour.png"), dpi=130)


if __name__ == "__main__":
    main()
