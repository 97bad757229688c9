"""Falcor3D (Nie et al., 2020): a living room under changing light."""

from __future__ import annotations

from typing import ClassVar

from disentangle_bench.data.dataset import Card
from disentangle_bench.data.numbered_pngs import NumberedPNGs, numbered_card


class Falcor3D(NumberedPNGs):
    """The dataset ``falcor3d``."""

    labels = "train-rec.labels"
    card: ClassVar[Card] = numbered_card(
        "falcor3d",
        "A living room under changing light, rendered: 233,280 images.",
        "Falcor3D_down128.zip",
        "1XAQfFK1x6cpN1eiovbP0hVfLTm5SsSoJ",
        {
            "lighting_intensity": 5,
            "lighting_x": 6,
            "lighting_y": 6,
            "lighting_z": 6,
            "camera_x": 6,
            "camera_y": 6,
            "camera_z": 6,
        },
        ("The labels' file, train-rec.labels, is a .npy.",),
    )
