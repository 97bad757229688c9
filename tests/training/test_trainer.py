"""The trainer: its schedule, and that a run is a function of its spec, also when it is stopped and resumed."""

from __future__ import annotations

import csv
import io
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from disentangle_bench.spec import Training
from disentangle_bench.training.checkpoints import CHECKPOINT, PREVIOUS, read_checkpoint, write_checkpoint
from disentangle_bench.training.trainer import Diverged, Interrupted, Trainer, learning_rate
from support.blobs import Blobs
from support.every_model import EVERY_MODEL
from support.small_runs import CPU, same, spec, started, state, trained


def test_learning_rate_is_half_a_cosine():
    training = Training(network="conv64", updates=101, batch_size=1, learning_rate=1e-3, final_learning_rate=1e-6)
    assert learning_rate(training, 0) == 1e-3
    assert learning_rate(training, 50) == pytest.approx((1e-3 + 1e-6) / 2)
    assert learning_rate(training, 100) == pytest.approx(1e-6)
    rates = [learning_rate(training, step) for step in range(101)]
    assert all(a > b for a, b in pairwise(rates))
    one_update = training.model_copy(update={"updates": 1})
    assert learning_rate(one_update, 0) == 1e-3


def test_half_a_cosine_may_be_shorter_than_the_run_which_then_climbs_back(tmp_path):
    """As the scheduler that the released code of Baykal et al. 2024 steps at every update, over 2.6 half periods."""
    changes = ["training.updates=26", "training.half_cosine=10", "training.batch_size=2"]
    trainer = Trainer(spec("beta_vae", *changes), Blobs(), CPU)
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=10, eta_min=1.25e-6)
    ours, theirs = [], []
    for _ in range(26):
        trainer.update()
        ours.append(trainer.optimizer.param_groups[0]["lr"])
        theirs.append(adam.param_groups[0]["lr"])
        adam.step()
        scheduler.step()
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert ours[0] == ours[20] == 1e-3
    assert ours[10] == pytest.approx(1.25e-6)
    assert all(a < b for a, b in pairwise(ours[10:21]))


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_the_same_spec_gives_the_same_bits_and_another_seed_others(tmp_path, model):
    first, second, other = (
        trained(tmp_path / "a", model),
        trained(tmp_path / "b", model),
        trained(tmp_path / "c", model, seed=1),
    )
    assert same(state(first), state(second))
    assert first.history == second.history
    assert not same(state(first), state(other))


@pytest.mark.parametrize("model", EVERY_MODEL)
@pytest.mark.parametrize("stop", [1, 7])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, model, stop):
    whole = trained(tmp_path / "whole", model)
    torch.manual_seed(99)  # nothing may depend on the global generator
    trainer = started(tmp_path / "parts", model)
    with pytest.raises(Interrupted, match=f"stopped after update {stop} of 12"):
        trainer.run(tmp_path / "parts", should_stop=lambda: trainer.step == stop)
    resumed = trained(tmp_path / "parts", model)
    assert same(state(whole), state(resumed))
    assert whole.history == resumed.history
    assert (tmp_path / "whole" / "history.csv").read_bytes() == (tmp_path / "parts" / "history.csv").read_bytes()


def test_checkpoints_by_time_do_not_change_the_numbers(tmp_path):
    trainer = started(tmp_path / "often")
    trainer.run(tmp_path / "often", checkpoint_seconds=0.0)
    assert same(state(trainer), state(trained(tmp_path / "once")))


def test_a_run_whose_evaluation_was_cut_off_does_not_train_again(tmp_path):
    first = trained(tmp_path)
    steps = []
    second = started(tmp_path)
    second.run(tmp_path, progress=steps.append)
    assert steps == []
    assert same(state(first), state(second))


def test_checkpoint_holds_everything_and_loads_without_unpickling(tmp_path):
    trained(tmp_path)
    content = read_checkpoint(tmp_path / CHECKPOINT)
    assert {"model", "optimizer", "step", "generators"} <= set(content)
    assert content["step"] == 12
    assert set(content["generators"]) == {"noise"}


def test_a_checkpoint_of_another_run_is_passed_over(tmp_path, caplog):
    trained(tmp_path / "a")
    other = trained(tmp_path / "a", "beta_vae", "model.kl_weight=0.5")
    assert "belongs to another run" in caplog.text
    assert same(state(other), state(trained(tmp_path / "b", "beta_vae", "model.kl_weight=0.5")))


def stopped_at(folder, *steps):
    """A run of twelve updates that wrote a checkpoint at each of these."""
    for step in steps:
        trainer = started(folder)
        with pytest.raises(Interrupted):
            trainer.run(folder, should_stop=lambda trainer=trainer, step=step: trainer.step == step)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing", "bit"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, damage):
    """Also the state between the two renames of a save: the newest is missing."""
    whole = trained(tmp_path / "whole")
    stopped_at(tmp_path / "parts", 3, 8)
    newest = tmp_path / "parts" / CHECKPOINT
    content = newest.read_bytes()
    newest.unlink()
    if damage == "bit":  # of a weight: torch would read it without a word
        bias = torch.load(io.BytesIO(content), weights_only=True)["model"]["encoder.0.bias"]
        weight = content.index(bias.numpy().tobytes())
        newest.write_bytes(content[:weight] + bytes([content[weight] ^ 16]) + content[weight + 1 :])
    elif damage != "missing":
        newest.write_bytes(content[:1000] if damage == "truncated" else b"not a checkpoint")
    steps = []
    trainer = started(tmp_path / "parts")
    trainer.run(tmp_path / "parts", progress=steps.append)
    assert steps == list(range(4, 13))
    assert ("cannot be read" in caplog.text) == (damage != "missing")
    assert same(state(whole), state(trainer))
    assert whole.history == trainer.history


def test_without_any_readable_checkpoint_training_starts_over(tmp_path):
    whole = trained(tmp_path / "whole")
    stopped_at(tmp_path / "parts", 3, 8)
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / "parts" / name).write_bytes(b"")
    assert same(state(whole), state(trained(tmp_path / "parts")))


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    write_checkpoint(tmp_path, {"digest": spec().digest, "model": Bomb()})
    trained(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_history_has_the_schedule_and_the_losses(tmp_path):
    trained(tmp_path, "factor_qvae")
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert list(rows[0]) == ["step", "learning_rate", "loss.autoencoder", "loss.discriminator", "mse", "kl", "tc"]
    assert float(rows[0]["learning_rate"]) == 1e-3
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())


def test_divergence_is_an_error_with_the_step(tmp_path):
    with pytest.raises(Diverged, match=r"not finite at update \d+ of 12"):
        trained(tmp_path, "beta_vae", "training.learning_rate=1e30")


@pytest.mark.slow
def test_training_learns(tmp_path):
    trainer = trained(tmp_path, "beta_vae", "training.updates=300", "training.batch_size=32")
    errors = [row["mse"] for row in trainer.history]
    assert np.mean(errors[-5:]) < 0.5 * errors[0]


def test_weight_decay_is_decoupled_and_pulls_weights_to_zero(tmp_path):
    """With a gradient of nothing, AdamW multiplies a weight by 1 - rate * decay and leaves the others alone."""
    trainer = Trainer(spec("qlae", "model.weight_decay=0.1"), Blobs(), CPU)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.5
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    for name, parameter in trainer.model.named_parameters():
        is_spared = parameter.dim() < 2 or name == "codebooks"
        torch.testing.assert_close(parameter.detach(), before[name] * (1.0 if is_spared else 1 - 0.5 * 0.1))


def test_images_are_channels_last_floats(tmp_path):
    trainer = Trainer(spec(), Blobs(), CPU)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in trainer.model.parameters() if p.dim() == 4)
    inputs = []
    losses = trainer.model.losses
    trainer.model.losses = lambda x, step, noise: (inputs.append(x), losses(x, step, noise))[1]
    trainer.update()
    assert inputs[0].is_contiguous(memory_format=torch.channels_last)
    assert inputs[0].dtype == torch.float32
    assert inputs[0].max() <= 1
    assert inputs[0].max() > 0.3


def test_the_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    trained(tmp_path, "factor_qvae")
    assert torch.equal(before, torch.get_rng_state())


def test_a_checkpoint_of_another_kind_of_device_is_passed_over(tmp_path, caplog):
    whole = trained(tmp_path / "whole")
    stopped_at(tmp_path / "parts", 3)
    state_on_cuda = read_checkpoint(tmp_path / "parts" / CHECKPOINT) | {"device": "cuda"}
    write_checkpoint(tmp_path / "parts", state_on_cuda)
    write_checkpoint(tmp_path / "parts", state_on_cuda)  # the previous generation, too
    assert same(state(whole), state(trained(tmp_path / "parts")))
    assert "another kind of device" in caplog.text


def test_a_finished_training_of_another_kind_of_device_is_not_repeated(tmp_path):
    """A run that was trained on a GPU may be scored elsewhere."""
    whole = trained(tmp_path)
    write_checkpoint(tmp_path, read_checkpoint(tmp_path / CHECKPOINT) | {"device": "cuda"})
    steps = []
    second = started(tmp_path)
    second.run(tmp_path, progress=steps.append)
    assert steps == []
    weights = whole.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in second.model.state_dict().items())
