"""Parts of losses in plain numpy, and models small enough for them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import log_softmax

from disentangle_bench.models.model import Noise
from disentangle_bench.models.networks import network
from disentangle_bench.registry import model_class
from disentangle_bench.training.trainer import evaluated

B, D, N = 6, 3, 1000


def build(name, **settings):
    chosen = model_class(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = chosen.Config(latents=D, **settings)
        model = chosen(config, image_shape=(1, 32, 32), n_train=N, network=network("conv64")).double()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)  # biases and ties away from their special values
    x = torch.rand(B * config.players, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return model, x


def losses(model, x, step=0):
    out, logs = model.losses(x, step, Noise(torch.Generator().manual_seed(2)))
    scalars = evaluated(out)
    return {key: value.item() for key, value in scalars.items()}, {key: value.item() for key, value in logs.items()}


def numbers(tensor):
    return tensor.detach().numpy()


def mse(a, b):
    return np.mean((numbers(a) - numbers(b)) ** 2)


def normal_noise(shape=(B, D)):
    return torch.empty(shape, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(2)).numpy()


def gaussian_parts(model, x):
    statistics = numbers(model.encoder(x))
    mean, log_variance = statistics[:, :D], statistics[:, D:]
    z = mean + np.exp(log_variance / 2) * normal_noise()
    return mean, log_variance, z, mse(model.decoder(torch.from_numpy(z)), x)


def normal_kl(mean, log_variance):
    return np.sum((np.exp(log_variance) + mean**2 - 1 - log_variance) / 2)


def forward(discriminator, z):
    """A multilayer perceptron with leaky ReLU 0.2, by hand."""
    layers = [module for module in discriminator if isinstance(module, torch.nn.Linear)]
    for number, layer in enumerate(layers):
        z = z @ numbers(layer.weight).T + numbers(layer.bias)
        if number < len(layers) - 1:
            z = np.where(z > 0, z, 0.2 * z)
    return z


def cross_entropy(logits, label):
    return -np.mean(log_softmax(logits, axis=1)[:, label])
