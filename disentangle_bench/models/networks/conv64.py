"""The network conv64: the small convolutions of Locatello et al. 2019."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from disentangle_bench.models.model import ImageShape
from disentangle_bench.models.networks.layers import ToMap, check_sides


class Conv64:
    """Small convolutional network of Locatello et al. 2019 (arXiv 1811.12359, appendix on architectures).

    Four convolutions of 32, 32, 64, 64 channels, a hidden layer of 256, ReLU; the decoder is its mirror image. Every
    convolution has kernel 4, stride 2 and padding 1, as the papers' tables say (the released code of that study uses
    kernel 2 in two of them). Sides must be multiples of 16.

    Weights and biases keep the initialisation of PyTorch's layers. The study's Glorot weights would make the first
    codes so large that FactorQVAE's posteriors could harden onto one symbol within the first updates, where they have
    no gradient.
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
        return check_sides("conv64", image_shape, 16)
