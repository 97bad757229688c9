"""Isaac3D (Nie et al., 2020): a robot arm in a kitchen."""

from __future__ import annotations

from typing import ClassVar

from disentangle_bench.data.dataset import Card
from disentangle_bench.data.numbered_pngs import NumberedPNGs, numbered_card


class Isaac3D(NumberedPNGs):
    """The dataset ``isaac3d``."""

    labels = "labels.npy"
    card: ClassVar[Card] = numbered_card(
        "isaac3d",
        "A robot arm in a kitchen, rendered: 737,280 images.",
        "Isaac3D_down128.zip",
        "1OmQ1G2wnm6eTsSFGTKFZZAh5D3nQTW1B",
        {
            "object_shape": 3,
            "robot_x": 8,
            "robot_y": 5,
            "camera_height": 4,
            "object_scale": 4,
            "lighting_intensity": 4,
            "lighting_y": 6,
            "object_color": 4,
            "wall_color": 4,
        },
        ("The README of the dataset names the strides in another order; the labels are checked against this one.",),
    )
