"""What the protocols hsu2023 and tripod2024 do as the released codes do it: cross-entropy, clipping, all images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.models.beta_vae import BetaVAE
from disentangle_bench.registry import MODELS, model_class
from disentangle_bench.training.batches import evaluation_sample, split_of
from disentangle_bench.training.trainer import Trainer, learning_rate
from support.blobs import Blobs
from support.small_runs import CPU, spec

BCE = "training.reconstruction=bce"
EVERY = ("training.split=none", "scoring.images=all")


@pytest.mark.parametrize(("name", "rate"), [("hsu2023", 1e-3), ("tripod2024", 2e-4)])
def test_learning_rates_are_constant(name, rate):
    training = resolve("qlae", "shapes3d", name, 0).spec.training
    assert {learning_rate(training, step) for step in (0, 1, training.updates // 3, training.updates - 1)} == {rate}
    assert training.reconstruction == "bce"
    assert training.gradient_clip == 1


def test_tripod_is_as_released_there():
    spec = resolve("tripod", "shapes3d", "tripod2024", 0).spec
    assert spec.settings == {
        "latents": 12, "symbols": 12, "quantise": True, "klm_weight": 1e-4, "nhp_weight": 1e-2, "normalised": False,
        "weight_decay": 0.0,
    }  # fmt: skip
    assert resolve("qlae", "shapes3d", "hsu2023", 0).spec.settings["weight_decay"] == 0.1, "no dose: its own length"


@pytest.mark.parametrize("name", [name for name in MODELS.entries if MODELS.entries[name].group != "plugin"])
def test_every_model_takes_the_cross_entropy(name):
    trainer = Trainer(spec(name, BCE, "training.batch_size=2"), Blobs(), CPU)
    numbers = trainer.update()
    assert "bce" in numbers
    assert "mse" not in numbers
    with torch.inference_mode():
        images = trainer.model.decode(trainer.model.encode(torch.rand(3, 1, 16, 16)))
    assert 0 < images.min() <= images.max() < 1


def test_the_cross_entropy_is_that_of_logits_per_pixel():
    model = Trainer(spec("ae", BCE), Blobs(), CPU).model
    x, output = torch.rand(3, 1, 16, 16), 4 * torch.randn(3, 1, 16, 16)
    p = 1 / (1 + torch.exp(-output.double()))
    expected = -(x * torch.log(p) + (1 - x) * torch.log(1 - p)).mean()
    assert model.error(output, x).item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(model.images(output), p.float())


def test_a_model_with_an_error_of_its_own_is_refused(monkeypatch):
    def losses(self, x, step, noise):
        return {"autoencoder": (self.decoder(self.encoder(x)[:, : self.config.latents]) - x).square().mean()}, {}

    monkeypatch.setattr(model_class("beta_vae"), "losses", losses)
    Trainer(spec("beta_vae"), Blobs(), CPU).update()
    with pytest.raises(BenchError, match=r"beta_vae does not minimise training\.reconstruction=bce: take self\.error"):
        Trainer(spec("beta_vae", BCE), Blobs(), CPU).update()


def test_gradients_are_clipped_element_by_element(monkeypatch):
    original = BetaVAE.losses

    def losses(self, x, step, noise):
        losses, logs = original(self, x, step, noise)
        return {"autoencoder": 1000 * losses["autoencoder"]}, logs

    monkeypatch.setattr(BetaVAE, "losses", losses)
    free, clipped = (
        Trainer(spec("beta_vae", f"training.gradient_clip={limit}"), Blobs(), CPU) for limit in ("0.0", "0.25")
    )
    for trainer in (free, clipped):
        trainer.update()
    clipped_count = 0
    for free_parameter, clipped_parameter in zip(free.model.parameters(), clipped.model.parameters(), strict=True):
        assert (free_parameter.grad.clamp(-0.25, 0.25) - clipped_parameter.grad).abs().max() < 1e-5
        clipped_count += int((free_parameter.grad.abs() > 0.25).sum())
    assert clipped_count > 10


def test_every_image_is_trained_on_and_may_be_scored():
    run_spec = spec("beta_vae", *EVERY)
    n = len(Blobs())
    parts = split_of(run_spec, n)
    assert parts.train.tolist() == list(range(n))
    assert not len(parts.validation)
    assert not len(parts.test)
    stream = Trainer(run_spec, Blobs(), CPU).stream
    epoch = np.concatenate([stream.batch(step) for step in range(n // 8 + 1)])[:n]
    assert sorted(epoch.tolist()) == list(range(n))
    assert len(evaluation_sample(run_spec, n)[0]) == 600


def test_no_images_would_be_left_to_test_on():
    with pytest.raises(BenchError, match=r"training\.split=none trains on every image"):
        spec("beta_vae", "training.split=none")
