"""The contract of a model: one file, one frozen ``Config``, one final class; shared parts are functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle_bench.codes import Codes
from disentangle_bench.spec import Part

ImageShape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""

Losses: TypeAlias = Mapping[str, Tensor | Callable[[], Tensor]]
"""One scalar per player, or a function that computes it when the player's turn comes; most models have one player,
``autoencoder``.
"""

Step: TypeAlias = int | Tensor
"""A time on the model's clock: an integer, or a float64 tensor without axes."""

Logs: TypeAlias = dict[str, Tensor]
"""Scalars by name, for ``history.csv``; the trainer detaches them."""


class Settings(Part):
    """A model's frozen settings, the base of each model's ``Config``. Every model has ``latents``, the number d.

    Raises pydantic's ``ValidationError`` for unknown names and for values that are not allowed.
    """

    latents: int = Field(ge=1)

    @property
    def players(self) -> int:
        """Number of players, each with its own loss, parameters and images; 2 with a discriminator."""
        return 1


def per_update(default: float) -> Any:
    """Return the field of a setting that acts once per update, such as weight decay or temperature decay.

    A protocol with fewer updates than the setting is meant for increases it in proportion, so that the whole run gets
    the same dose.
    """
    return Field(default, ge=0, json_schema_extra={"dose": "rate"})


def in_updates(default: int) -> Any:
    """Return the field of a setting that is a number of updates, such as the length of a warm-up.

    A protocol with fewer updates than the setting is meant for shortens it in proportion.
    """
    return Field(default, ge=1, json_schema_extra={"dose": "duration"})


class Noise:
    """Random tensors from the run's own ``generator``, on its device. Models draw random numbers from nothing else."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal numbers, of the shape and dtype of ``like``."""
        return torch.empty_like(like).normal_(generator=self.generator)

    def uniform(self, like: Tensor) -> Tensor:
        """Return numbers uniform on [0, 1), of the shape and dtype of ``like``."""
        return torch.empty_like(like).uniform_(generator=self.generator)

    def permutations(self, b: int, columns: int) -> Tensor:
        """Return independent random permutations of 0 to ``b`` - 1, one for each of ``columns``: int64 [b, columns]."""
        device = self.generator.device
        return torch.rand(b, columns, generator=self.generator, device=device).argsort(dim=0)


class Model(nn.Module, ABC):
    """Base class of models: what the trainer, the evaluation and the conformance checks need.

    The constructor gets the frozen ``config`` and, as keywords, ``image_shape`` (c, h, w), ``n_train`` (the number of
    training images) and ``network`` (makes encoders and decoders). It may initialise with torch's usual functions; the
    caller seeds them with the run's seed. ``losses`` may draw random numbers only from ``noise``.

    ``reconstruction`` is the protocol's, set by the trainer; ``error`` and ``images`` follow it.

    ``version`` is bumped when the model's numbers change. ``capturable`` says that no call of ``losses`` needs anything
    from the host (no ``float(tensor)``, no ``if`` on a tensor), so that an update can be a CUDA graph.
    """

    version: ClassVar[int]
    capturable: ClassVar[bool] = True
    Config: ClassVar[type[Settings]]
    config: Settings
    encoder: nn.Module
    decoder: nn.Module
    reconstruction: Literal["mse", "bce"] = "mse"
    _asked: bool = False

    @property
    def measured(self) -> bool:
        """Return whether ``losses`` used the protocol's error; always true if that is the squared error."""
        return self._asked or self.reconstruction == "mse"

    def error(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the protocol's error of a decoder's ``output`` against images ``x`` in [0, 1], both [b, c, h, w].

        It is a scalar, the mean over images, channels and pixels.
        """
        if self.reconstruction == "bce":
            self._asked = True
            return F.binary_cross_entropy_with_logits(output, x)
        return F.mse_loss(output, x)

    def images(self, output: Tensor) -> Tensor:
        """Return a decoder's ``output`` as images of its shape: unchanged, or through a sigmoid if it is logits."""
        return output.sigmoid() if self.reconstruction == "bce" else output

    @abstractmethod
    def losses(self, x: Tensor, step: Step, noise: Noise) -> tuple[Losses, Logs]:
        """Return each player's loss and other numbers to log, all scalars. Random numbers come from ``noise`` alone.

        ``x`` [players * b, c, h, w] in [0, 1] holds a batch per player. ``step`` is the time on the protocol's clock,
        from 0: an integer or, on a CUDA device, a float64 tensor without axes (``quantise.temperature`` and ``ramp``
        take both). The trainer follows the gradient of the sum. Players of an adversarial game see each other detached:
        no parameter gets a gradient from two losses, so one backward pass and one Adam make the same steps as one
        optimiser per player. In protocols whose players take turns, a loss given as a function is called after the
        steps of the players before it.
        """

    @abstractmethod
    def encode(self, x: Tensor) -> Codes:
        """Return codes of images ``x`` [n, c, h, w] in [0, 1], deterministically.

        Codes have values [n, d], indices [n, d] if discrete, and deviations [n, d] if Gaussian.
        """

    def finish(self, images: Callable[[int], Iterator[Tensor]]) -> None:
        """Fit whatever must be fitted after training, and keep it in buffers; most models do nothing here.

        ``images(n)`` yields at most n training images in batches [b, c, h, w] in [0, 1], always the same ones. The
        method is called in evaluation mode and without gradients; a resumed run may call it again and must get the same
        result.
        """

    def decode(self, codes: Codes) -> Tensor:
        """Return the images [n, c, h, w] of ``codes``, not clipped to [0, 1]; by default, ``decoder`` of the values."""
        return self.images(self.decoder(codes.values))

    def param_groups(self) -> list[dict[str, Any]]:
        """Return groups for Adam, which together hold every parameter once.

        A group has ``params`` and optionally ``lr_scale`` (a factor on the schedule's learning rate), ``betas`` and
        ``weight_decay`` (decoupled).
        """
        return [{"params": list(self.parameters())}]


def ramp(step: Step, length: int) -> float | Tensor:
    """Return step / length until it reaches 1, and 1 from then on."""
    return (step / length).clamp(max=1.0) if isinstance(step, Tensor) else min(1.0, step / length)


def decayed(model: nn.Module, weight_decay: float, *, spared: Collection[nn.Parameter] = ()) -> list[dict[str, Any]]:
    """Return groups with weight decay on all parameters except biases and those in ``spared``."""
    free = {id(parameter) for parameter in spared}
    free |= {id(parameter) for name, parameter in model.named_parameters() if name.rpartition(".")[2] == "bias"}
    plain = [parameter for parameter in model.parameters() if id(parameter) in free]
    weights = [parameter for parameter in model.parameters() if id(parameter) not in free]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": plain}]
