"""A dataset that costs nothing, for tests that train."""

from __future__ import annotations

import numpy as np

from disentangle_bench.data.dataset import Card, Dataset


class Blobs(Dataset):
    """300 small grey images with one bright square each; enough to train on."""

    card = Card("blobs", 1, "", ("row", "column", "grey"), (10, 10, 3), (1, 16, 16), "CC0", "")

    @classmethod
    def load(cls, folder):
        return cls()

    def images(self, index):
        out = np.zeros((len(index), 16, 16, 1), np.uint8)
        for image, (row, column, grey) in zip(out, self.factors(index), strict=True):
            image[row : row + 6, column : column + 6] = 100 + 70 * grey
        return out
