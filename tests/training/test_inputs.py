"""What an update is given on a CUDA device equals what the host would give it; tried on the CPU, where both can be."""

from __future__ import annotations

import pytest
import torch

from disentangle_bench.data.files import data_folder
from disentangle_bench.registry import dataset_class
from disentangle_bench.training.inputs import AHEAD, DeviceInputs, Sources
from disentangle_bench.training.trainer import Trainer
from support.blobs import Blobs
from support.small_runs import CPU, spec


@pytest.mark.parametrize(
    ("name", "correlation"),
    [("rooms3d", "none"), ("rooms3d", "single_1"), (None, "none")],
    ids=["resident", "correlated", "copied"],
)
def test_inputs_on_a_device_are_those_of_the_host(name, correlation):
    dataset = dataset_class(name).load(data_folder(None)) if name else Blobs()
    changes = ["training.updates=400", "training.batch_size=4", "training.clock=optimiser_steps"]
    changes.append(f"data.correlation={correlation}")
    trainer = Trainer(spec("factor_qvae", "model.discriminator_lr_scale=0.5", *changes), dataset, CPU)
    batches = trainer.images
    if name:  # the way that other devices take
        batches = dataset.place_masks(CPU)
        assert batches.resident
    device = DeviceInputs(Sources(batches, trainer.stream, trainer.optimizer, trainer._rates, 2), CPU)
    for step in [*range(AHEAD + 2), 301, 302, 310, 7]:  # a resumed run begins anywhere
        trainer.inputs.seek(step)
        images, clock = trainer.inputs.take()
        rates = [group["lr"] for group in trainer.optimizer.param_groups]
        device.seek(step)
        device_images, device_clock = device.take()
        assert torch.equal(images, device_images)
        assert device_clock.dtype == torch.float64
        assert float(device_clock) == clock == 2 * step
        assert [float(group["lr"]) for group in trainer.optimizer.param_groups] == pytest.approx(rates, rel=1e-6)
