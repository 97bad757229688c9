"""Draw the sheets of the datasets that need no download: rooms3d.png and dsprites_rendered.png.

python docs/datasets/figures/sheets.py
"""

from pathlib import Path

from disentangle_bench.data.files import data_folder
from disentangle_bench.data.sheet import draw_sheet
from disentangle_bench.registry import dataset_class

HELD = {"rooms3d": (9, 5, 1, 5, 0, 3), "dsprites_rendered": (2, 5, 0, 16, 16)}
"""The factors that the rows hold."""


def main():
    for name, factors in HELD.items():
        dataset = dataset_class(name).load(data_folder())
        (position,) = dataset.card.grid.index([factors])
        draw_sheet(dataset, Path(__file__).with_name(f"{name}.png"), position=int(position))


if __name__ == "__main__":
    main()
