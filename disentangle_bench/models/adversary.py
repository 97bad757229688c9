"""Total correlation by the density-ratio trick (Kim & Mnih 2018, arXiv 1802.05983), without a second optimiser.

``total_correlation`` sees the discriminator's parameters detached, and ``discriminator_loss`` sees the codes detached.
In the sum of both, each player therefore follows only its own gradient. As Adam works element by element, one Adam with
two parameter groups makes exactly the same steps as a loop with two optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from disentangle_bench.models.model import Noise, Settings

WIDTH = 1000
SLOPE = 0.2


def discriminator(inputs: int, hidden_layers: int) -> nn.Sequential:
    """Return a network that tells codes (logit 0) from codes with shuffled latents (logit 1): [b, inputs] to [b, 2].

    Hidden layers have 1000 units and leaky ReLU of slope 0.2 (Kim & Mnih 2018, appendix A); weights start from
    N(0, 0.02), biases from 0 (released code of Baykal et al. 2024).
    """
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, *[WIDTH] * hidden_layers, 2]):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
    layers.pop()  # no activation on the logits
    for module in layers:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    return nn.Sequential(*layers)


def total_correlation(discriminator: nn.Module, z: Tensor) -> Tensor:
    """Return the estimate of TC(z), a mean over the batch; gradients reach ``z`` but not the discriminator."""
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    logits = functional_call(discriminator, frozen, (z.flatten(1),))
    return (logits[:, 0] - logits[:, 1]).mean()


def discriminator_loss(discriminator: nn.Module, z: Tensor, shuffled: Tensor) -> Tensor:
    """Return 0.5 * (CE(D(z), 0) + CE(D(shuffled), 1)); gradients reach the discriminator but not the codes."""
    logits = discriminator(torch.cat([z.detach().flatten(1), shuffled.detach().flatten(1)]))
    real = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    fake = torch.ones(len(shuffled), dtype=torch.int64, device=z.device)
    return 0.5 * (F.cross_entropy(logits[: len(z)], real) + F.cross_entropy(logits[len(z) :], fake))


def discriminator_turn(
    discriminator: nn.Module, z: Tensor, other: Callable[[], Tensor], noise: Noise
) -> Callable[[], Tensor]:
    """Return a function that computes, in its turn, the loss on codes ``z`` and on shuffled codes from ``other``."""

    def loss() -> Tensor:
        with torch.no_grad():
            shuffled = shuffle_latents(other(), noise)
        return discriminator_loss(discriminator, z, shuffled)

    return loss


def shuffle_latents(z: Tensor, noise: Noise) -> Tensor:
    """Permute each latent of [b, d] (or of [b, d, v], its v weights together) independently across the batch."""
    order = noise.permutations(len(z), z.shape[1])
    if z.dim() == 3:
        order = order[:, :, None].expand_as(z)
    return z.gather(0, order)


class Adversary(Settings):
    """Settings of models with a discriminator; each model's ``Config`` sets its own defaults.

    ``gamma`` weighs the total correlation; if it is 0, there is no discriminator. The discriminator's learning rate is
    ``discriminator_lr_scale`` times the schedule's, and its Adam moments are ``discriminator_beta1`` and ``_beta2``.
    """

    gamma: float = Field(1e-4, ge=0)
    discriminator_layers: int = Field(5, ge=0)
    discriminator_lr_scale: float = Field(1.0, gt=0)
    discriminator_beta1: float = Field(0.9, ge=0, lt=1)
    discriminator_beta2: float = Field(0.999, ge=0, lt=1)

    @property
    def players(self) -> int:
        """Number of players: the autoencoder, and the discriminator if there is one."""
        return 2 if self.gamma > 0 else 1


def discriminator_for(config: Adversary, inputs: int) -> nn.Sequential | None:
    """Return the discriminator of codes [b, inputs] that the settings ask for; None if they ask for none."""
    return discriminator(inputs, config.discriminator_layers) if config.players == 2 else None


def param_groups(model: nn.Module, discriminator: nn.Module | None, config: Adversary) -> list[dict[str, Any]]:
    """Return groups for Adam: the model without its discriminator, the discriminator with its own rate and moments."""
    if discriminator is None:
        return [{"params": list(model.parameters())}]
    own = list(discriminator.parameters())
    known = {id(parameter) for parameter in own}
    return [
        {"params": [parameter for parameter in model.parameters() if id(parameter) not in known]},
        {
            "params": own,
            "lr_scale": config.discriminator_lr_scale,
            "betas": (config.discriminator_beta1, config.discriminator_beta2),
        },
    ]
