"""The trainer's adversarial game against a textbook loop with two optimisers, in both orders of their steps."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from disentangle_bench.config.resolve import resolve
from disentangle_bench.models.model import Noise
from disentangle_bench.registry import model_class
from disentangle_bench.training import trainer as train
from disentangle_bench.training.trainer import Trainer
from support.blobs import Blobs

UPDATES = 20


def textbook_step(model, x, step, noise, autoencoder, discriminator, order):
    """One update of two losses by an optimiser each.

    ``together``: both gradients at the same weights, then both steps. ``in_turn``: the autoencoder's step first; the
    discriminator then compares the codes of the first half, encoded before that step, with shuffled codes of the
    second half, encoded after it.
    """
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

    def discriminator_loss():
        z_other = encode(other)[1].detach()
        permuted = noise.permutations(len(z_other), config.latents)
        shuffled = torch.stack([z_other[permuted[:, j], j] for j in range(config.latents)], dim=1)
        real, fake = model.discriminator(z.detach().flatten(1)), model.discriminator(shuffled.flatten(1))
        zeros = torch.zeros(len(x), dtype=torch.long)
        return 0.5 * (F.cross_entropy(real, zeros) + F.cross_entropy(fake, zeros + 1))

    if order == "in_turn":
        autoencoder.zero_grad()
        loss.backward()
        autoencoder.step()
        discriminator.zero_grad()
        discriminator_loss().backward()
        discriminator.step()
    else:
        gradients = torch.autograd.grad(discriminator_loss(), list(model.discriminator.parameters()))
        autoencoder.zero_grad()
        loss.backward()
        for parameter, gradient in zip(model.discriminator.parameters(), gradients, strict=True):
            parameter.grad = gradient
        autoencoder.step()
        discriminator.step()


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Makes trainers in float64, at a constant learning rate of 1e-3."""
    monkeypatch.setattr(train, "to_float", lambda images: images.double() / 255)

    def make(name, order):
        rates = ["training.learning_rate=1e-3", "training.final_learning_rate=1e-3"]
        changes = [f"training.updates={UPDATES}", "training.batch_size=4", f"training.steps={order}", *rates]
        spec = resolve(name, "rooms3d", "smoke", 0, changes).spec
        settings = model_class(name).Config(latents=3, gamma=0.5, discriminator_layers=1).model_dump()
        trainer = Trainer(spec.model_copy(update={"settings": settings}), Blobs(), torch.device("cpu"))
        trainer.model.double()
        return trainer

    return make


@pytest.mark.parametrize("order", ["together", "in_turn"])
@pytest.mark.parametrize("name", ["factor_vae", "factor_qvae"])
def test_equals_two_optimisers(trainer, name, order):
    own_trainer = trainer(name, order)
    reference_model = copy.deepcopy(own_trainer.model)
    config = reference_model.config
    autoencoder = torch.optim.Adam(
        [p for n, p in reference_model.named_parameters() if not n.startswith("discriminator")], lr=1e-3, fused=True
    )
    discriminator = torch.optim.Adam(
        reference_model.discriminator.parameters(),
        lr=1e-3 * config.discriminator_lr_scale,
        betas=(config.discriminator_beta1, config.discriminator_beta2),
        fused=True,
    )
    start = [p.detach().clone() for p in own_trainer.model.parameters()]
    noise = Noise(torch.Generator())
    noise.generator.set_state(own_trainer.generator.get_state())
    for step in range(UPDATES):
        x = own_trainer.images(own_trainer.stream.batch(step)).double() / 255
        own_trainer.update()
        textbook_step(reference_model, x, step, noise, autoencoder, discriminator, order)
    for (key, a), b, before in zip(
        own_trainer.model.named_parameters(), reference_model.parameters(), start, strict=True
    ):
        assert (a - b).abs().max() < 1e-12, key
        assert not torch.equal(a, before), key


@pytest.mark.parametrize("name", ["factor_vae", "factor_qvae"])
def test_the_order_of_the_steps_matters(trainer, name):
    """From the second update on: the first step of the autoencoder is the same in both."""
    together, in_turn = trainer(name, "together"), trainer(name, "in_turn")
    first = [t.update() for t in (together, in_turn)]
    assert first[0]["loss.autoencoder"] == first[1]["loss.autoencoder"]
    assert first[0]["loss.discriminator"] != first[1]["loss.discriminator"]
    assert together.update()["loss.autoencoder"] != in_turn.update()["loss.autoencoder"]


@pytest.mark.parametrize(
    ("name", "clock", "seen"),
    [
        ("factor_qvae", "updates", [0, 1, 2]),
        ("factor_qvae", "optimiser_steps", [0, 2, 4]),
        ("beta_vae", "optimiser_steps", [0, 1, 2]),
    ],
)
def test_clock(tmp_path, name, clock, seen):
    """The step that a model is told counts updates, or the steps of all optimisers."""
    changes = [f"training.clock={clock}", "training.batch_size=2"]
    trainer = Trainer(resolve(name, "rooms3d", "smoke", 0, changes).spec, Blobs(), torch.device("cpu"))
    steps, losses = [], trainer.model.losses
    trainer.model.losses = lambda x, step, noise: (steps.append(step), losses(x, step, noise))[1]
    for _ in range(3):
        trainer.update()
    assert steps == seen
