"""Encoders and decoders that every model can use."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.models.model import ImageShape


class Network(Protocol):
    """A pair of functions that make an encoder (images to a flat vector) and a decoder (flat vector to images)."""

    def check(self, image_shape: ImageShape) -> ImageShape:
        """Return ``image_shape``; raise ``BenchError`` if the network cannot take such images."""

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Return a module from images [b, c, h, w] to [b, outputs]."""

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """Return a module from [b, inputs] to images [b, c, h, w], without output activation."""


class Conv64:
    """Small convolutional network of Locatello et al. 2019 (arXiv 1811.12359, appendix on architectures).

    Four convolutions of 32, 32, 64, 64 channels, a hidden layer of 256, ReLU; the decoder is its mirror image. Every
    convolution has kernel 4, stride 2 and padding 1, as the papers' tables say (the released code of that study uses
    kernel 2 in two of them). Sides must be multiples of 16.

    Weights and biases start as PyTorch's layers start them. That study's Glorot weights make the first codes so large
    that FactorQVAE's posteriors can harden onto one symbol within the first updates, where they have no gradient.
    """

    CHANNELS = (32, 32, 64, 64)
    HIDDEN = 256

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Return the module from images [b, c, h, w] to [b, outputs]."""
        c, h, w = self.check(image_shape)
        layers: list[nn.Module] = []
        for channels in self.CHANNELS:
            layers += [nn.Conv2d(c, channels, 4, 2, 1), nn.ReLU()]
            c = channels
        flat = c * (h // 16) * (w // 16)
        layers += [nn.Flatten(), nn.Linear(flat, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, outputs)]
        return nn.Sequential(*layers)

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """Return the module from [b, inputs] to images [b, c, h, w]."""
        c, h, w = self.check(image_shape)
        start = (self.CHANNELS[-1], h // 16, w // 16)
        layers: list[nn.Module] = [nn.Linear(inputs, self.HIDDEN), nn.ReLU()]
        layers += [nn.Linear(self.HIDDEN, start[0] * start[1] * start[2]), nn.ReLU(), ToMap(start)]
        channels = [*reversed(self.CHANNELS), c]
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    @staticmethod
    def check(image_shape: ImageShape) -> ImageShape:
        """Return ``image_shape``; raise ``BenchError`` if the network cannot take such images."""
        c, h, w = image_shape
        if h % 16 or w % 16 or min(image_shape) < 1:
            raise BenchError(f"the network conv64 takes images whose sides are multiples of 16, not {h} x {w} pixels")
        return c, h, w


class Residual:
    """Network of the FactorQVAE paper (arXiv 2409.14851; blocks of DALL-E's discrete VAE): about 22 M parameters.

    Three groups of two residual blocks with 128, 256 and 512 channels, max-pooling after the first two; then two
    hidden layers of 128. The decoder starts from a map of 64 channels at a quarter of the image's side and goes through
    512, 256 and 128 channels with nearest-neighbour upsampling. The input is shifted by -0.5 and the output back, as
    the released code reconstructs the shifted image. Weights are N(0, 0.02), biases zero. Sides must be multiples of 4.
    ``width`` scales all channels: 0.25 is for tests and benchmarks.
    """

    HIDDEN = 128
    START = 64
    BLOCKS_PER_GROUP = 2

    def __init__(self, width: float = 1.0) -> None:
        self.channels = tuple(int(width * channels) for channels in (128, 256, 512))

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Return the module from images [b, c, h, w] to [b, outputs]."""
        c, h, w = self.check(image_shape)
        layers: list[nn.Module] = [Shift(-0.5), nn.Conv2d(c, self.channels[0], 3, padding=1)]
        layers += self._blocks(self.channels[0], self.channels, kernels=(3, 3, 3, 1), between=lambda: nn.MaxPool2d(2))
        flat = self.channels[-1] * (h // 4) * (w // 4)
        layers += [nn.Flatten(), nn.ReLU(), nn.Linear(flat, self.HIDDEN), nn.ReLU()]
        layers += [nn.Linear(self.HIDDEN, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, outputs)]
        return _normal(nn.Sequential(*layers))

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """Return the module from [b, inputs] to images [b, c, h, w]."""
        c, h, w = self.check(image_shape)
        start = (self.START, h // 4, w // 4)
        layers: list[nn.Module] = [nn.Linear(inputs, start[0] * start[1] * start[2]), ToMap(start)]
        widths = tuple(reversed(self.channels))
        layers += self._blocks(self.START, widths, kernels=(1, 3, 3, 3), between=lambda: nn.Upsample(scale_factor=2))
        layers += [nn.ReLU(), nn.Conv2d(self.channels[0], c, 1), Shift(0.5)]
        return _normal(nn.Sequential(*layers))

    def _blocks(
        self, inputs: int, widths: tuple[int, ...], kernels: tuple[int, ...], between: Callable[[], nn.Module]
    ) -> list[nn.Module]:
        gain = 1 / (len(widths) * self.BLOCKS_PER_GROUP) ** 2
        layers: list[nn.Module] = []
        for group, width in enumerate(widths):
            for _ in range(self.BLOCKS_PER_GROUP):
                layers.append(ResidualBlock(inputs, width, kernels, gain))
                inputs = width
            if group < len(widths) - 1:
                layers.append(between())
        return layers

    @staticmethod
    def check(image_shape: ImageShape) -> ImageShape:
        """Return ``image_shape``; raise ``BenchError`` if the network cannot take such images."""
        c, h, w = image_shape
        if h % 4 or w % 4 or min(image_shape) < 1:
            raise BenchError(f"the network residual takes images whose sides are multiples of 4, not {h} x {w} pixels")
        return c, h, w


class ResidualBlock(nn.Module):
    """Block: x (by a 1x1 convolution if channels change) + gain * four times (ReLU, convolution), a quarter wide."""

    def __init__(self, inputs: int, outputs: int, kernels: tuple[int, ...], gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.identity = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        widths = [inputs, *[outputs // 4] * (len(kernels) - 1), outputs]
        layers: list[nn.Module] = []
        for (before, after), kernel in zip(pairwise(widths), kernels, strict=True):
            layers += [nn.ReLU(), nn.Conv2d(before, after, kernel, padding=kernel // 2)]
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths."""
        return self.identity(x) + self.gain * self.branch(x)


class Shift(nn.Module):
    """Layer that adds a constant."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus the constant."""
        return x + self.amount


class ToMap(nn.Module):
    """Layer from vectors [b, c*h*w] to maps [b, c, h, w], in memory as ``lay_out`` says: channels last at first."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Return the same numbers as a map."""
        return x.unflatten(1, self.shape).contiguous(memory_format=self.memory_format)


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Put a model's weights, and the maps that its decoder begins with, into one memory format.

    A convolution keeps the format of what it is given, so that no layer in between has to know.
    """
    model.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's own types leave this call out
    for module in model.modules():
        if isinstance(module, ToMap):
            module.memory_format = memory_format


def _normal(network: nn.Sequential) -> nn.Sequential:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


NETWORKS: dict[str, Network] = {"conv64": Conv64(), "residual": Residual()}


def network(name: str) -> Network:
    """Return the network called ``name``."""
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return NETWORKS[name]
