"""Draw rooms3d.png: one row per factor of rooms3d, the others held, then random images.

python docs/datasets/figures/rooms3d.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from disentangle_bench.data.files import data_folder
from disentangle_bench.data.rooms3d import Rooms3D

COLUMNS = 15
HELD = {"floor_hue": 9, "wall_hue": 5, "object_hue": 1, "scale": 5, "shape": 0, "orientation": 3}


def strip(images):
    """Images [n, h, w, c] side by side on white, always as wide as COLUMNS of them."""
    n, h, w, c = images.shape
    sheet = np.full((h + 4, COLUMNS * (w + 4), c), 255, dtype=np.uint8)
    for k in range(n):
        sheet[2 : h + 2, k * (w + 4) + 2 : (k + 1) * (w + 4) - 2] = images[k]
    return sheet


def main():
    rooms = Rooms3D.load(data_folder())
    card = rooms.card
    rows = []
    for k, (name, size) in enumerate(zip(card.factor_names, card.factor_sizes, strict=True)):
        factors = np.tile([HELD[f] for f in card.factor_names], (size, 1))
        factors[:, k] = np.arange(size)
        rows.append((name, strip(rooms.images(card.grid.index(factors)))))
    drawn = np.random.default_rng(0).integers(len(rooms), size=(3, COLUMNS))
    rows += [("random", strip(rooms.images(index))) for index in drawn]

    h, w, _ = rows[0][1].shape
    figure, axes = plt.subplots(len(rows), figsize=((w + 110) / 100, len(rows) * h / 100), dpi=100)
    figure.subplots_adjust(left=110 / (w + 110), right=1, bottom=0, top=1, hspace=0)
    for axis, (name, sheet) in zip(axes, rows, strict=True):
        axis.imshow(sheet, interpolation="nearest", aspect="auto")
        axis.set_axis_off()
        axis.text(-8, h / 2, name, ha="right", va="center", fontsize=11)
    # The version of matplotlib is left out, so that only a changed picture changes the file.
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
