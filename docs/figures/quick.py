"""Draws ``quick.png``, the README's picture, from the results of its main job.

python docs/figures/quick.py results/quick
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from disentangle_bench.report.figures.style import COLOURS
from disentangle_bench.store import runs

SCORES = {
    "dci.disentanglement": "DCI disentanglement ↑",
    "infomec.modularity": "InfoMEC modularity ↑",
    "mse.mse": "reconstruction MSE ↓",
}
IMAGES = 8
MODELS = ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae")


def main(results: Path, target: Path) -> None:
    """Images and their reconstructions by each model on the left, headline scores on the right."""
    records = {record.spec.model: record for record in runs.load_records(results) if record.spec.seed == 0}
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    rows = left.subplots(len(MODELS) + 1, 1, gridspec_kw={"hspace": 0.02})
    for axes, name in zip(rows, ("images", *MODELS), strict=True):
        with np.load(records[MODELS[0] if name == "images" else name].folder / "pictures.npz") as file:
            pictures = file["originals" if name == "images" else "reconstructions"][:IMAGES]
        axes.imshow(
            np.concatenate(list(np.pad(pictures, ((0, 0), (0, 0), (2, 2), (0, 0)), constant_values=255)), axis=1)
        )
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    panels = right.subplots(len(SCORES), 1)
    for axes, (score, title) in zip(panels, SCORES.items(), strict=True):
        values = [
            next(row["value"] for row in records[name].scores if f"{row['metric']}.{row['score']}" == score)
            for name in MODELS
        ]
        axes.barh(range(len(MODELS)), values, color=[COLOURS[i] for i in range(len(MODELS))])
        axes.set_yticks(range(len(MODELS)), MODELS)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("rooms3d, protocol quick (1,000 updates), one seed: a first look, not a ranking", fontsize=11)
    figure.savefig(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_suffix(".png"))
