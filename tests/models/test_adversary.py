"""The one-backward, one-Adam form of the adversarial game against a textbook loop with two optimisers."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from disentangle_bench.models.model import Noise
from disentangle_bench.models.networks import network
from disentangle_bench.registry import model_class
from disentangle_bench.spec import Training
from disentangle_bench.train import build_optimizer, sum_of

UPDATES = 20


def fresh(name):
    chosen = model_class(name)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = chosen.Config(latents=3, gamma=0.5, discriminator_layers=1)
        return chosen(config, image_shape=(1, 16, 16), n_train=100, network=network("conv64")).double()


def textbook_step(model, x, step, noise, autoencoder, discriminator):
    """Both players' gradients at the same weights, each from a loss of its own; then each optimiser steps."""
    config = model.config
    x, other = x.chunk(2)
    if hasattr(config, "symbols"):
        temperature = math.exp(-config.temperature_decay * step)

        def encode(images):
            log_p = torch.log_softmax(-((model.encoder(images)[:, :, None] - model.codebook[:, 0]) ** 2), dim=2)
            gumbel = -torch.log(-torch.log(noise.uniform(log_p)))
            return log_p, torch.softmax((log_p + gumbel) / temperature, dim=2)

        log_p, z = encode(x)
        kl = (log_p.exp() * (log_p + math.log(config.symbols))).sum(2).mean()
        images = model.decoder(z @ model.codebook[:, 0])
    else:

        def encode(images):
            mean, log_variance = model.encoder(images).split(config.latents, dim=1)
            return (mean, log_variance), mean + (log_variance / 2).exp() * noise.normal(mean)

        (mean, log_variance), z = encode(x)
        kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1).mean()
        images = model.decoder(z)
    logits = model.discriminator(z.flatten(1))
    loss = F.mse_loss(images, x) + config.kl_weight * kl + config.gamma * (logits[:, 0] - logits[:, 1]).mean()
    z_other = encode(other)[1].detach()
    order = noise.permutations(len(z_other), config.latents)
    shuffled = torch.stack([z_other[order[:, j], j] for j in range(config.latents)], dim=1)
    real, fake = model.discriminator(z.detach().flatten(1)), model.discriminator(shuffled.flatten(1))
    zeros = torch.zeros(len(x), dtype=torch.long)
    d_loss = 0.5 * (F.cross_entropy(real, zeros) + F.cross_entropy(fake, zeros + 1))
    d_gradients = torch.autograd.grad(d_loss, list(model.discriminator.parameters()))
    autoencoder.zero_grad()
    loss.backward()
    for parameter, gradient in zip(model.discriminator.parameters(), d_gradients, strict=True):
        parameter.grad = gradient
    autoencoder.step()
    discriminator.step()


@pytest.mark.parametrize("name", ["factor_vae", "factor_qvae"])
def test_equals_two_optimisers(name):
    ours, theirs = fresh(name), fresh(name)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    training = Training(network="conv64", updates=UPDATES, batch_size=4, learning_rate=1e-3, final_learning_rate=0)
    optimizer = build_optimizer(ours, training)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * group["lr_scale"]
    config = theirs.config
    autoencoder = torch.optim.Adam(
        [p for n, p in theirs.named_parameters() if not n.startswith("discriminator")], lr=1e-3, fused=True
    )
    discriminator = torch.optim.Adam(
        theirs.discriminator.parameters(),
        lr=1e-3 * config.discriminator_lr_scale,
        betas=(config.discriminator_beta1, config.discriminator_beta2),
        fused=True,
    )
    start = [p.detach().clone() for p in ours.parameters()]
    images = torch.Generator().manual_seed(4)
    noises = [Noise(torch.Generator().manual_seed(5)) for _ in range(2)]
    for step in range(UPDATES):
        x = torch.rand(8, 1, 16, 16, generator=images, dtype=torch.float64)
        optimizer.zero_grad()
        sum_of(ours.losses(x, step, noises[0])[0]).backward()
        optimizer.step()
        textbook_step(theirs, x, step, noises[1], autoencoder, discriminator)
    for (key, a), b, before in zip(ours.named_parameters(), theirs.parameters(), start, strict=True):
        assert (a - b).abs().max() < 1e-12, key
        assert not torch.equal(a, before), key
