"""Scores of perfect codes against the number of rows: writes sample_size.png.

python docs/metrics/figures/sample_size.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from disentangle_bench.metrics import infomec, mig, modularity

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROWS = (250, 500, 1_000, 2_000, 4_000, 10_000, 40_000)
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)  # those of Shapes3D


def main() -> None:
    rng = np.random.default_rng(0)
    scores: dict[str, list[float]] = {name: [] for name in ("InfoM", "InfoC", "MIG", "modularity")}
    for rows in ROWS:
        factors = np.column_stack([rng.integers(0, size, rows) for size in FACTOR_SIZES])
        found = infomec(factors, factors, discrete=True)
        scores["InfoM"].append(found["modularity"])
        scores["InfoC"].append(found["compactness"])
        scores["MIG"].append(mig(factors, factors)["score"])
        scores["modularity"].append(modularity(factors, factors)["score"])
        print(f"{rows} rows: " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in scores.items()))
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    styles = zip(scores.items(), ("o-", "s--", "^-", "d-"), ("#0072B2", "#56B4E9", "#D55E00", "#009E73"), strict=True)
    for (name, values), style, colour in styles:
        axes.plot(ROWS, values, style, color=colour, label=name)
    axes.set_xscale("log")
    axes.set(xlabel="rows", ylabel="score of perfect codes", title="codes equal to the factors")
    axes.axhline(1, color="0.7", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
