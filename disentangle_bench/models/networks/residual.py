"""The network residual: the residual blocks of the FactorQVAE paper."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from disentangle_bench.models.model import ImageShape
from disentangle_bench.models.networks.layers import Shift, ToMap, check_sides


class Residual:
    """Network of the FactorQVAE paper (arXiv 2409.14851; blocks of DALL-E's discrete VAE): about 22 M parameters.

    The encoder has three groups of two residual blocks with 128, 256 and 512 channels, max-pooling after the first two,
    and two hidden layers of 128. The decoder starts from a map of 64 channels at a quarter of the image's side and goes
    through 512, 256 and 128 channels with nearest-neighbour upsampling. The input is shifted by -0.5 and the output
    back, as the released code reconstructs the shifted image. Weights are N(0, 0.02), biases zero. Sides must be
    multiples of 4. ``width`` scales all channels; 0.25 is for tests and benchmarks.
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
        return check_sides("residual", image_shape, 4)


class ResidualBlock(nn.Module):
    """Block that computes x + gain * four times (ReLU, convolution), the inner convolutions a quarter as wide.

    x passes through a 1x1 convolution if channels change.
    """

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


def _normal(network: nn.Sequential) -> nn.Sequential:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
