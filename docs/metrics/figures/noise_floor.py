"""InfoE of codes that are pure noise, against the number of symbols per latent: writes noise_floor.png.

python docs/metrics/figures/noise_floor.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from disentangle_bench.metrics import infomec

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROWS, TEST, LATENTS = 10_000, 5_000, 12
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)  # those of Shapes3D
SYMBOLS = (2, 4, 10, 16, 32, 64)


def main() -> None:
    rng = np.random.default_rng(0)
    factors = np.column_stack([rng.integers(0, size, ROWS + TEST) for size in FACTOR_SIZES])
    fitted, heldout = [], []
    for symbols in SYMBOLS:
        codes = rng.integers(0, symbols, (ROWS + TEST, LATENTS))
        found = infomec(codes, factors, discrete=True, n_train=ROWS)
        fitted.append(found["explicitness"])
        heldout.append(found["explicitness_heldout"])
        print(f"{symbols} symbols: explicitness {fitted[-1]:.3f}, held out {heldout[-1]:.3f}")
    continuous = infomec(rng.normal(size=(ROWS + TEST, LATENTS)), factors, discrete=False, n_train=ROWS)
    print(f"continuous: explicitness {continuous['explicitness']:.4f}")
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axes.plot(SYMBOLS, fitted, "o-", color="#0072B2", label="explicitness (training rows)")
    axes.plot(SYMBOLS, heldout, "s-", color="#D55E00", label="explicitness_heldout (test rows)")
    axes.set_xscale("log", base=2)
    axes.set_xticks(SYMBOLS, [str(symbols) for symbols in SYMBOLS])
    axes.minorticks_off()
    axes.set(xlabel="symbols per latent", ylabel="score of pure noise", title="12 latents, 10,000 training rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
