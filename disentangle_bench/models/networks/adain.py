"""The network adain, from Tripod: an encoder with instance norm, and a decoder whose inputs modulate a learnt map."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from disentangle_bench.models.model import ImageShape
from disentangle_bench.models.networks.layers import StartMap, check_sides


class AdaIN:
    """Network of Tripod (Hsu et al., arXiv 2404.10282; released code d794dc4): about 20 M parameters.

    The encoder takes images scaled to [-1, 1] through four stages of two residual blocks and a halving (2 x 2 pixels
    become channels, then a 1x1 convolution), with 32, 64, 128, 256 and 512 channels, instance norm and GELU. The mean
    over the map and a hidden layer of 512 with layer norm follow. The decoder begins with a learnt map of 512 channels
    at a sixteenth of the image's side. Its inputs become a conditioning vector of 256, from which every block computes
    the scale and shift of each of its channels after instance norm (AdaIN). Four stages of two residual blocks and a
    doubling go from 512 to 256, 128 and 64 channels, and finally to the image's channels.

    Weights and biases keep the initialisation of PyTorch's layers, as in the released code. Sides must be multiples of
    16 and at least 32: instance norm would turn a single pixel into zero. ``width`` scales all channels of
    convolutions; values below 1 are for tests and benchmarks.
    """

    HIDDEN = 512
    CONDITION = 256

    def __init__(self, width: float = 1.0) -> None:
        self.channels = tuple(int(width * channels) for channels in (32, 64, 128, 256, 512))

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Return the module from images [b, c, h, w] to [b, outputs]."""
        before, _, _ = self.check(image_shape)
        layers: list[nn.Module] = [Centred()]
        for width, after in pairwise(self.channels):
            layers += [InstanceNormBlock(before, width), InstanceNormBlock(width, width)]
            layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * width, after, 1)]
            before = after
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_dense(before, self.HIDDEN)]
        return nn.Sequential(*layers, nn.Linear(self.HIDDEN, outputs))

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """Return the module from [b, inputs] to images [b, c, h, w]."""
        c, h, w = self.check(image_shape)
        widths = (*self.channels[:0:-1], c)
        return AdaINDecoder(inputs, self.CONDITION, widths, (h // 16, w // 16))

    @staticmethod
    def check(image_shape: ImageShape) -> ImageShape:
        """Return ``image_shape``; raise ``BenchError`` if the network cannot take such images."""
        return check_sides("adain", image_shape, 16, least=32)


class AdaINDecoder(nn.Module):
    """Decoder whose inputs only modulate a learnt map (see ``AdaIN``)."""

    def __init__(self, inputs: int, condition: int, widths: tuple[int, ...], side: tuple[int, int]) -> None:
        super().__init__()
        self.condition = nn.Sequential(*_dense(inputs, condition), *_dense(condition, condition))
        self.start = StartMap((widths[0], *side), 1.0)
        self.stages = nn.ModuleList(AdaINStage(condition, before, after) for before, after in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        """Return the images [b, c, h, w] of inputs [b, d]."""
        condition, *_, x = self.hidden_layers(z)
        return self.stages[-1](x, condition)

    def hidden_layers(self, z: Tensor) -> list[Tensor]:
        """Return the conditioning vector and the output of every stage but the last."""
        condition = self.condition(z)
        x, hidden = self.start(z), [condition]
        for stage in self.stages[:-1]:
            x = stage(x, condition)
            hidden.append(x)
        return hidden


class AdaINStage(nn.Module):
    """Two residual blocks with adaptive instance norm, then a nearest-neighbour doubling and a convolution."""

    def __init__(self, condition: int, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AdaINLayer(condition, before) for _ in range(4))
        self.doubling = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the map at twice the side."""
        first, second, third, fourth = self.layers
        x = x + second(first(x, condition), condition)
        x = x + fourth(third(x, condition), condition)
        return self.doubling(x)


class AdaINLayer(nn.Module):
    """Convolution, instance norm, a scale and a shift that are linear in the conditioning vector, and GELU."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(channels, channels, affine=False)
        self.modulation = nn.Linear(condition, 2 * channels)
        self.activation = nn.GELU(approximate="tanh")

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the modulated map."""
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        return self.activation(self.norm(self.convolution(x)) * (1 + scale) + shift)


class InstanceNormBlock(nn.Module):
    """Block that computes x + twice (convolution, instance norm, GELU).

    x passes through a 1x1 convolution if channels change.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.identity = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        layers: list[nn.Module] = []
        for inputs in (before, after):
            layers += [nn.Conv2d(inputs, after, 3, padding=1), nn.GroupNorm(after, after), nn.GELU(approximate="tanh")]
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths."""
        return self.identity(x) + self.branch(x)


class Centred(nn.Module):
    """Layer that maps numbers in [0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return 2 x - 1."""
        return 2 * x - 1


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU(approximate="tanh")]
