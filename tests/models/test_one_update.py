"""One update of each model in float64 against an independent, plain re-derivation, loss and every gradient to 1e-9.

The re-derivations are in by_hand.py. Then whole updates of the trainer against those gradients and Adam by hand.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.models.model import Noise
from disentangle_bench.registry import MODELS, model_config
from disentangle_bench.training import trainer as train
from disentangle_bench.training.trainer import Trainer, evaluated
from support import by_hand
from support.blobs import Blobs
from support.small_models import B, D, N, build

STEP = 30_000
cases = pytest.mark.parametrize(("name", "settings"), by_hand.CASES.values(), ids=by_hand.CASES)


def test_every_built_in_model_has_a_rederivation():
    built_in = {entry.name for entry in MODELS.entries.values() if entry.group != "plugin"}
    assert {name for name, _ in by_hand.CASES.values()} == built_in


def by_hand_gradients(name, parameters, config, x, step, draws, n_train):
    """Each player's loss, and of every parameter the gradient of the loss that its player follows."""
    leaves = {key: value.detach().clone().requires_grad_() for key, value in parameters.items()}
    losses = getattr(by_hand, name)(leaves, config, x, step, draws, n_train)
    gradients = {}
    for player, loss in losses.items():
        own_leaves = {
            k: leaf for k, leaf in leaves.items() if k.startswith("discriminator.") == (player == "discriminator")
        }
        gradients |= zip(own_leaves, torch.autograd.grad(loss, list(own_leaves.values())), strict=True)
    return losses, gradients


@cases
def test_losses_and_gradients(name, settings):
    model, x = build(name, settings)
    losses, _ = model.losses(x, STEP, Noise(torch.Generator().manual_seed(2)))
    losses = evaluated(losses)
    sum(losses.values()).backward()
    parameters = dict(model.named_parameters())
    expected, gradients = by_hand_gradients(name, parameters, model.config, x, STEP, by_hand.Draws(2), N)
    assert losses.keys() == expected.keys()
    for player, loss in losses.items():
        assert abs(loss.item() - expected[player].item()) < 1e-9, player
    assert gradients.keys() == parameters.keys()
    for key, parameter in parameters.items():
        assert gradients[key].any(), key
        assert (parameter.grad - gradients[key]).abs().max() < 1e-9, key


class Adam(NamedTuple):
    """What the optimiser is to do with one parameter."""

    lr_scale: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0


def adam_of(name, settings, key):
    """Which Adam each parameter of a model has, from the papers."""
    if key.startswith("discriminator."):
        return Adam(0.1, 0.5, 0.9) if name == "factor_vae" else Adam()
    is_weight = key.endswith(".weight")  # not a bias or a codebook
    return Adam(weight_decay=settings.get("weight_decay", 0.0) if is_weight else 0.0)


@cases
def test_updates_of_the_trainer(tmp_path, monkeypatch, name, settings):
    """Three updates: the gradients above, then Adam with decoupled weight decay, element by element of its formulas."""
    monkeypatch.setattr(train, "to_float", lambda images: images.double() / 255)
    rates = ["training.learning_rate=0.01", "training.final_learning_rate=0.002", "training.updates=3"]
    spec = resolve(name, "rooms3d", "smoke", 0, [*rates, f"training.batch_size={B}"]).spec
    complete = model_config(name, {"latents": D, **settings}).model_dump()
    trainer = Trainer(spec.model_copy(update={"settings": complete}), Blobs(), torch.device("cpu"))
    model = trainer.model.double()
    p = {key: value.detach().clone() for key, value in model.named_parameters()}
    m = {key: torch.zeros_like(value) for key, value in p.items()}
    v = {key: torch.zeros_like(value) for key, value in p.items()}
    draws = by_hand.Draws(0)
    draws.generator.set_state(trainer.generator.get_state())
    for step, rate in enumerate([0.01, 0.006, 0.002]):
        x = trainer.images(trainer.stream.batch(step)).double() / 255
        losses, gradients = by_hand_gradients(name, p, model.config, x, step, draws, n_train=240)
        numbers = trainer.update()
        for player, loss in losses.items():
            assert abs(numbers[f"loss.{player}"].item() - loss.item()) < 1e-9, player
        for key, g in gradients.items():
            adam = adam_of(name, settings, key)
            lr, t = rate * adam.lr_scale, step + 1
            p[key] = p[key] - lr * adam.weight_decay * p[key]
            m[key] = adam.beta1 * m[key] + (1 - adam.beta1) * g
            v[key] = adam.beta2 * v[key] + (1 - adam.beta2) * g * g
            m_hat, v_hat = m[key] / (1 - adam.beta1**t), v[key] / (1 - adam.beta2**t)
            p[key] = p[key] - lr * m_hat / (torch.sqrt(v_hat) + 1e-8)
    for key, parameter in model.named_parameters():
        assert (parameter - p[key]).abs().max() < 1e-9, key
