"""Encoders and decoders that every model can stand on."""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.models.model import ImageShape


class Network(Protocol):
    """A pair of functions that make an encoder (images to a flat vector) and a decoder (flat vector to images)."""

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """A module from images [b, c, h, w] to [b, outputs]."""

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """A module from [b, inputs] to images [b, c, h, w], without output activation."""


class Conv64:
    """The small convolutional network of Locatello et al. 2019 (arXiv 1811.12359, appendix on architectures).

    Four convolutions of 32, 32, 64, 64 channels, a hidden layer of 256, ReLU; the decoder is its mirror image. Every
    convolution has kernel 4, stride 2 and padding 1, as the papers' tables say (the released code of that study uses
    kernel 2 in two of them). Weights are Glorot-uniform and biases zero, that code's default. Sides must be
    multiples of 16.
    """

    CHANNELS = (32, 32, 64, 64)
    HIDDEN = 256

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Images [b, c, h, w] to [b, outputs]."""
        c, h, w = self._checked(image_shape)
        layers: list[nn.Module] = []
        for channels in self.CHANNELS:
            layers += [nn.Conv2d(c, channels, 4, 2, 1), nn.ReLU()]
            c = channels
        flat = c * (h // 16) * (w // 16)
        layers += [nn.Flatten(), nn.Linear(flat, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, outputs)]
        return _glorot(nn.Sequential(*layers))

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """[b, inputs] to images [b, c, h, w]."""
        c, h, w = self._checked(image_shape)
        start = (self.CHANNELS[-1], h // 16, w // 16)
        layers: list[nn.Module] = [nn.Linear(inputs, self.HIDDEN), nn.ReLU()]
        layers += [nn.Linear(self.HIDDEN, start[0] * start[1] * start[2]), nn.ReLU(), ChannelsLast(start)]
        channels = [*reversed(self.CHANNELS), c]
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
        return _glorot(nn.Sequential(*layers[:-1]))

    @staticmethod
    def _checked(image_shape: ImageShape) -> ImageShape:
        c, h, w = image_shape
        if h % 16 or w % 16 or min(image_shape) < 1:
            raise BenchError(f"the network conv64 takes images whose sides are multiples of 16, not {h} x {w} pixels")
        return c, h, w


class ChannelsLast(nn.Module):
    """A flat vector [b, c*h*w] as a map [b, c, h, w] whose channels run fastest in memory, as convolutions like it."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """The same numbers as a map."""
        return x.unflatten(1, self.shape).contiguous(memory_format=torch.channels_last)


def _glorot(network: nn.Sequential) -> nn.Sequential:
    for module in network:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


NETWORKS: dict[str, Network] = {"conv64": Conv64()}


def network(name: str) -> Network:
    """The network called ``name``."""
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return NETWORKS[name]
