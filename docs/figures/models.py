"""Draws ``models.png``, the README's picture: what six models make of the same images, and their scores.

python docs/figures/models.py RESULTS

RESULTS is a results folder with runs of one dataset and protocol that still have their pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
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
    """Draw images and reconstructions, of each model's first seed, on the left, and headline scores on the right."""
    by_model = {name: [] for name in MODELS}
    for record in runs.load_records(results):
        by_model.get(record.spec.model, []).append(record)
    first = {name: min(records, key=lambda record: record.spec.seed) for name, records in by_model.items()}
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    rows = left.subplots(len(MODELS) + 1, 1, gridspec_kw={"hspace": 0.02})
    for axes, name in zip(rows, ("images", *MODELS), strict=True):
        with np.load(first[MODELS[0] if name == "images" else name].folder / "pictures.npz") as file:
            pictures = file["originals" if name == "images" else "reconstructions"][:IMAGES]
        padded = np.pad(pictures, ((0, 0), (0, 0), (2, 2), (0, 0)), constant_values=255)
        axes.imshow(np.concatenate(list(padded), axis=1))
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, (score, title) in zip(right.subplots(len(SCORES), 1), SCORES.items(), strict=True):
        draw_score(axes, score, by_model)
        axes.set_title(title, fontsize=10)
    spec = first[MODELS[0]].spec
    seeds = {len(records) for records in by_model.values()}
    count = (
        "one seed"
        if seeds == {1}
        else f"{min(seeds)} to {max(seeds)} seeds"
        if len(seeds) > 1
        else f"{max(seeds)} seeds"
    )
    figure.suptitle(
        f"{spec.dataset}, protocol {spec.protocol} {spec.protocol_version}: {spec.training.updates:,} updates of "
        f"{spec.training.batch_size} images, {count}",
        fontsize=11,
    )
    figure.savefig(target)


def draw_score(axes: Axes, score: str, by_model: dict[str, list[runs.Record]]) -> None:
    """Draw a bar for the mean of each model, and a point for each seed."""
    for number, records in enumerate(by_model.values()):
        values = [
            row["value"] for record in records for row in record.scores if f"{row['metric']}.{row['score']}" == score
        ]
        axes.barh(number, np.mean(values), color=COLOURS[number])
        axes.plot(values, [number] * len(values), "o", color="black", markersize=3)
    axes.set_yticks(range(len(by_model)), list(by_model))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_suffix(".png"))
