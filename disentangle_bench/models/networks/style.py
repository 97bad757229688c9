"""The network style, from QLAE: an encoder with instance norm, and a decoder in the manner of StyleGAN."""

from __future__ import annotations

from torch import Tensor, nn

from disentangle_bench.models.model import ImageShape
from disentangle_bench.models.networks.layers import StartMap, check_sides

KERNELS = ((3, 1), (3, 1), (4, 2))
"""Kernel size and stride of a stage's three convolutions, all with padding 1."""

EPSILON = 1e-6
"""Added to variances by instance norm."""


class Style:
    """Network of QLAE (Hsu et al., arXiv 2305.18378; released code 9a420a3): about 8 M parameters.

    The encoder has twelve convolutions without biases in four stages of 32, 64, 128 and 256 channels, each followed by
    instance norm and a leaky ReLU of slope 0.2, and two hidden layers of 256 with ReLU. The decoder begins with a
    learnt map of 256 channels at a sixteenth of the image's side. Two hidden layers of 256 with ReLU turn its inputs
    into a style vector. Twelve transposed convolutions, in four stages of 256, 128, 64 and 32 channels, are each
    followed by the leaky ReLU, instance norm, and a scale and a bias for each channel, which a linear layer with ReLU
    computes from the style vector. A convolution to the image comes last.

    Weights and biases keep the initialisation of PyTorch's layers, as in the released code. Sides must be multiples of
    16 and at least 32. ``width`` scales all channels of convolutions; values below 1 are for tests.
    """

    HIDDEN = 256

    def __init__(self, width: float = 1.0) -> None:
        self.channels = tuple(int(width * channels) for channels in (32, 64, 128, 256))

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """Return the module from images [b, c, h, w] to [b, outputs]."""
        before, h, w = self.check(image_shape)
        layers: list[nn.Module] = []
        for width in self.channels:
            for kernel, stride in KERNELS:
                layers += [nn.Conv2d(before, width, kernel, stride, 1, bias=False)]
                layers += [nn.GroupNorm(width, width, eps=EPSILON), nn.LeakyReLU(0.2)]
                before = width
        layers += [nn.Flatten(), *_dense(before * (h // 16) * (w // 16), self.HIDDEN)]
        return nn.Sequential(*layers, *_dense(self.HIDDEN, self.HIDDEN), nn.Linear(self.HIDDEN, outputs))

    def decoder(self, inputs: int, image_shape: ImageShape) -> nn.Module:
        """Return the module from [b, inputs] to images [b, c, h, w]."""
        c, h, w = self.check(image_shape)
        return StyleDecoder(inputs, self.HIDDEN, self.channels[::-1], (c, h // 16, w // 16))

    @staticmethod
    def check(image_shape: ImageShape) -> ImageShape:
        """Return ``image_shape``; raise ``BenchError`` if the network cannot take such images."""
        return check_sides("style", image_shape, 16, least=32)


class StyleDecoder(nn.Module):
    """Decoder whose inputs only scale and shift the channels of a learnt map (see ``Style``)."""

    def __init__(self, inputs: int, hidden: int, widths: tuple[int, ...], image: ImageShape) -> None:
        super().__init__()
        self.style = nn.Sequential(*_dense(inputs, hidden), *_dense(hidden, hidden))
        self.start = StartMap((widths[0], *image[1:]), 0.1)
        layers, before = [], widths[0]
        for width in widths:
            for kernel, stride in KERNELS:
                layers.append(StyleLayer(hidden, before, width, kernel, stride))
                before = width
        self.layers = nn.ModuleList(layers)
        self.image = nn.Conv2d(before, image[0], 3, padding=1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images [b, c, h, w] of inputs [b, d]."""
        return self.image(self.hidden_layers(z)[-1])

    def hidden_layers(self, z: Tensor) -> list[Tensor]:
        """Return the style vector and the output of every stage."""
        style = self.style(z)
        x, hidden = self.start(z), [style]
        for number, layer in enumerate(self.layers, 1):
            x = layer(x, style)
            if number % len(KERNELS) == 0:
                hidden.append(x)
        return hidden


class StyleLayer(nn.Module):
    """Transposed convolution, leaky ReLU, instance norm, then scale and bias per channel from the style vector."""

    def __init__(self, style: int, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(before, after, kernel, stride, 1, bias=False)
        self.activation = nn.LeakyReLU(0.2)
        self.norm = nn.GroupNorm(after, after, eps=EPSILON, affine=False)
        self.modulation = nn.Sequential(*_dense(style, 2 * after))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return the modulated map."""
        scale, bias = self.modulation(style)[:, :, None, None].chunk(2, dim=1)
        return self.norm(self.activation(self.convolution(x))) * scale + bias


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.ReLU()]
