"""Parts that several networks share: layers, access to hidden layers, memory formats and checks of sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disentangle_bench.errors import BenchError
from disentangle_bench.models.model import ImageShape


class Shift(nn.Module):
    """Layer that adds a constant."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus the constant."""
        return x + self.amount


class ToMap(nn.Module):
    """Layer from vectors [b, c*h*w] to maps [b, c, h, w], in the memory format set by ``lay_out`` or channels last."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Return the same numbers as a map."""
        return x.unflatten(1, self.shape).contiguous(memory_format=self.memory_format)


class StartMap(nn.Module):
    """Learnt map [c, h, w], the same for all inputs: the start of a decoder that inputs only modulate."""

    def __init__(self, shape: ImageShape, initial: float) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.full((1, *shape), initial))
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Return the map once for each row of ``x`` [b, ...]."""
        return self.map.expand(len(x), -1, -1, -1).contiguous(memory_format=self.memory_format)


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Put a model's weights, and the maps with which its decoder begins, into one memory format.

    A convolution keeps the format of its input, so the layers in between need no setting.
    """
    model.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's own types lack this overload
    for module in model.modules():
        if isinstance(module, ToMap | StartMap):
            module.memory_format = memory_format


def hidden_layers(decoder: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Return the hidden layers of a decoder for ``inputs`` [b, d], each [b, ...], without computing its output.

    A decoder with a method ``hidden_layers`` chooses them itself. In an ``nn.Sequential``, they are the outputs of the
    ReLUs and upsamplings. Raises ``BenchError`` for any other module.
    """
    own = getattr(decoder, "hidden_layers", None)
    if own is not None:
        hidden: list[Tensor] = own(inputs)
        return hidden
    if not isinstance(decoder, nn.Sequential):
        raise BenchError(
            f"the hidden layers of a decoder of class {type(decoder).__name__} are not known: give it a method "
            "hidden_layers(z), or make it an nn.Sequential"
        )
    layers = list(decoder)
    marked = [number for number, layer in enumerate(layers) if isinstance(layer, nn.ReLU | nn.Upsample)]
    x, hidden = inputs, list[Tensor]()
    for number, layer in enumerate(layers[: marked[-1] + 1 if marked else 0]):
        x = layer(x)
        if number in marked:
            hidden.append(x)
    return hidden


def check_sides(name: str, image_shape: ImageShape, multiple: int, least: int = 0) -> ImageShape:
    """Return ``image_shape``; raise ``BenchError`` if a side is not a multiple of ``multiple`` or below ``least``."""
    c, h, w = image_shape
    if h % multiple or w % multiple or min(image_shape) < 1 or min(h, w) < least:
        rule = f"multiples of {multiple}" + (f" from {least} on" if least else "")
        raise BenchError(f"the network {name} takes images whose sides are {rule}, not {h} x {w} pixels")
    return c, h, w
