"""Models in float64, small enough for loops over images and latents."""

from __future__ import annotations

import torch

from disentangle_bench.models.networks import network
from disentangle_bench.registry import model_class, model_config

B, D, N = 4, 3, 50
"""Images in a batch, latents, training images."""


def build(name, settings):
    """A model in float64 and its update's images; biases are not zero, and codes differ as after some training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = model_config(name, {"latents": D, **settings})
        model = model_class(name)(config, image_shape=(1, 16, 16), n_train=N, network=network("conv64")).double()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        x = torch.rand(B * config.players, 1, 16, 16, dtype=torch.float64)
        with torch.no_grad():
            head = model.encoder[-1]
            head.weight *= 50
            head.bias += 0.1 - model.encoder(x).mean(0)
    return model, x
