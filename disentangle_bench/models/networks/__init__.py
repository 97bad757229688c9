"""Encoders and decoders that every model can use, one file each."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from disentangle_bench.errors import unknown
from disentangle_bench.models.model import ImageShape
from disentangle_bench.models.networks.adain import AdaIN
from disentangle_bench.models.networks.conv64 import Conv64
from disentangle_bench.models.networks.layers import hidden_layers, lay_out
from disentangle_bench.models.networks.residual import Residual
from disentangle_bench.models.networks.style import Style

__all__ = ["NETWORKS", "AdaIN", "Conv64", "Network", "Residual", "Style", "hidden_layers", "lay_out", "network"]


class Network(Protocol):
    """A pair of functions that make an encoder (images to a flat vector) and a decoder (flat vector to images)."""

    def check(self, image_shape: ImageShape) -> ImageShape:
        """Return ``image_shape``; raise ``BenchError`` if the network cannot take such images."""

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Return a module from images [b, c, h, w] to [b, ``outputs``]; ``image_shape`` is (c, h, w)."""

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """Return a module from [b, ``inputs``] to images [b, c, h, w], without an activation on the output.

        ``image_shape`` is (c, h, w).
        """


NETWORKS: dict[str, Network] = {"conv64": Conv64(), "residual": Residual(), "adain": AdaIN(), "style": Style()}


def network(name: str) -> Network:
    """Return the network called ``name``; raise ``BenchError`` if there is none."""
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return NETWORKS[name]
