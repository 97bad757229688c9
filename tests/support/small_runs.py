"""Runs of a few updates on a dataset that costs nothing, in this process."""

from __future__ import annotations

import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.training.trainer import Trainer
from support.blobs import Blobs

CPU = torch.device("cpu")


def spec(model="beta_vae", *changes, seed=0):
    resolved = resolve(model, "rooms3d", "smoke", 0, ["training.updates=12", "training.batch_size=8", *changes]).spec
    return resolved.model_copy(update={"seed": seed})


def started(folder, *arguments, **options):
    trainer = Trainer(spec(*arguments, **options), Blobs(), CPU)
    trainer.restore(folder)
    return trainer


def trained(folder, *arguments, **options):
    trainer = started(folder, *arguments, **options)
    trainer.run(folder)
    return trainer


def state(trainer):
    return {**trainer.model.state_dict(), "noise": trainer.generator.get_state()}


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a) and a.keys() == b.keys()
