"""Where a dataset's images lie makes no difference but speed."""

import logging
import sys

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data import arrays
from disentangle_bench.data.arrays import resident, staged
from disentangle_bench.data.custom import custom_class
from disentangle_bench.data.dsprites_rendered import DSpritesRendered, packed
from disentangle_bench.data.files import data_folder
from disentangle_bench.data.rooms3d import Rooms3D
from disentangle_bench.training.batches import split
from disentangle_bench.training.trainer import Trainer, to_float

N = 60
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "some.npz"
    images = np.random.default_rng(0).integers(256, size=(N, 64, 64, 3), dtype=np.uint8)
    np.savez(path, images=images, factor_sizes=np.array([3, 4, 5]))
    return path


RESIDENT = {
    "an array": lambda path: (custom_class(str(path)).load(path.parent), lambda data: resident(data._array, CPU)),
    "rooms3d": lambda path: (Rooms3D.load(data_folder()), lambda data: data.place_masks(CPU)),
    "dsprites_rendered": lambda path: (Few(), lambda data: packed(data, CPU)),
}


class Few(DSpritesRendered):
    def __len__(self):
        return N


@pytest.mark.parametrize("name", RESIDENT)
def test_batches_by_an_index_on_the_device_equal_images(path, name):
    dataset, place = RESIDENT[name](path)
    first, second = np.random.default_rng(3).integers(len(dataset), size=(2, 16))
    batches = place(dataset)
    assert batches.resident
    # Recorded as operations on tensors and replayed with another index, as a CUDA graph would: no work of the host.
    gather = make_fx(batches.gather)(torch.from_numpy(first))
    for index in (first, second):
        batch = gather(torch.from_numpy(index))
        assert torch.equal(batch, batches(index))
        assert batch.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), dataset.images(index))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", RESIDENT)
def test_a_cuda_graph_gathers_batches(path, name, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CPU", torch.device("cuda"))
    dataset, place = RESIDENT[name](path)
    batches = place(dataset)
    index = torch.zeros(16, dtype=torch.int64, device="cuda")
    batches.gather(index)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch = batches.gather(index)
    for seed in range(3):
        positions = np.random.default_rng(seed).integers(len(dataset), size=16)
        index.copy_(torch.from_numpy(positions))
        graph.replay()
        np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).cpu().numpy(), dataset.images(positions))


def test_staged_batches_are_not_resident(path):
    batches = custom_class(str(path)).load(path.parent).place(CPU)
    assert not batches.resident


PLACES = {
    "on the device": lambda array: resident(array, CPU),
    "in memory": lambda array: staged(np.array(array), CPU),
    "in its file": lambda array: staged(array, CPU),
}


def trained(path, folder, place, monkeypatch):
    """Losses, codes of a few images and weights after three updates, from images that lie where ``place`` puts them."""
    with monkeypatch.context() as patch:
        dataset = custom_class(str(path)).load(path.parent)
        assert isinstance(dataset._array, np.memmap)
        patch.setattr(type(dataset), "place", lambda self, device: place(self._array), raising=False)
        spec = resolve("beta_vae", str(path), "smoke", 0, ["training.updates=3", "training.batch_size=8"]).spec
        trainer = Trainer(spec, dataset, CPU)
        losses = [float(trainer.update()["loss.autoencoder"]) for _ in range(3)]
        trainer.model.eval()
        with torch.inference_mode():
            codes = trainer.model.encode(to_float(trainer.images(split(N).test))).values
        return losses, codes, list(trainer.model.state_dict().values())


def test_the_same_seed_gives_the_same_numbers_wherever_the_data_lies(path, tmp_path, monkeypatch):
    results = [trained(path, tmp_path, place, monkeypatch) for place in PLACES.values()]
    losses, codes, weights = results[0]
    assert len(set(losses)) == 3
    for other_losses, other_codes, other_weights in results[1:]:
        assert losses == other_losses
        assert torch.equal(codes, other_codes)
        assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))


GB = 10**9


@pytest.mark.parametrize(
    ("device_free", "memory_free", "placement", "message"),
    [
        (2.0, 0, "resident", "on cuda"),
        (1.9, 2.0, "staged copy", "in memory"),
        (1.9, 1.9, "staged map", "stay where they are"),
        (0, None, "staged map", "stay where they are"),
        ("taken", 0, "staged map", "stay where they are"),
    ],
)
def test_free_memory_decides_and_the_log_says(path, monkeypatch, caplog, device_free, memory_free, placement, message):
    dataset = custom_class(str(path)).load(path.parent)
    size = dataset._array.nbytes
    is_taken = device_free == "taken"  # by another process, after it was seen to be free

    def on_device(array, device):
        if is_taken:
            raise torch.cuda.OutOfMemoryError
        return "resident"

    free = 9 * size if is_taken else int(device_free * size)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 99 * GB))
    memory = None if memory_free is None else int(memory_free * size)
    monkeypatch.setattr(arrays, "free_memory", lambda: memory)
    monkeypatch.setattr(arrays, "resident", on_device)
    kinds = {True: "staged map", False: "staged copy"}
    monkeypatch.setattr(arrays, "staged", lambda array, device: kinds[isinstance(array, np.memmap)])
    with caplog.at_level(logging.INFO):
        assert dataset.place(torch.device("cuda")) == placement
        assert dataset.place(torch.device("cuda")) == placement
    assert len(caplog.records) == 1  # it is placed once
    assert message in caplog.text
    assert dataset.card.name in caplog.text


def test_free_memory_is_known_here():
    free = arrays.free_memory()
    assert free is None or 10**7 < free < 10**15


class FakeDevice:
    """A CUDA device on the CPU, on which copies arrive as late as they may."""

    type = "cuda"

    def __init__(self, monkeypatch):
        self.waiting, self.pinned = [], 0
        empty, device = torch.empty, self

        def fake_empty(*args, pin_memory=False, **options):
            device.pinned += pin_memory
            return empty(*args, **options)

        def fake_to(tensor, target, non_blocking=False):
            assert target is device
            assert non_blocking
            arrived = torch.zeros_like(tensor)
            device.waiting.append((tensor, arrived))
            return arrived

        class Event:
            def __init__(self):
                self.copies = []

            def record(self, stream):
                self.copies, device.waiting = device.waiting, []

            def synchronize(self):
                for source, target in self.copies:
                    target.copy_(source)
                self.copies = []

        monkeypatch.setattr(torch, "empty", fake_empty)
        monkeypatch.setattr(torch.Tensor, "to", fake_to)
        monkeypatch.setattr(torch.cuda, "Event", lambda: device.remember(Event()))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda target: None)
        self.events = []

    def remember(self, event):
        self.events.append(event)
        return event


@pytest.mark.parametrize("mapped", [True, False])
def test_a_buffer_is_not_written_before_its_copy_has_arrived(path, monkeypatch, mapped):
    array = custom_class(str(path)).load(path.parent)._array
    array = array if mapped else np.array(array)
    rng = np.random.default_rng(0)
    indices = [rng.integers(N, size=b) for b in (8, 8, 8, 3, 8, 12, 8, 8, 20, 1)]
    device = FakeDevice(monkeypatch)
    batches = staged(array, device)
    results = [batches(index) for index in indices]
    for event in device.events:
        event.synchronize()
    for index, batch in zip(indices, results, strict=True):
        np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), np.asarray(array)[index])
    assert device.pinned == len(device.events) >= arrays.BUFFERS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("placement", ["resident", "staged copy", "staged map"])
def test_batches_on_cuda_equal_images(path, placement):
    device = torch.device("cuda")
    dataset = custom_class(str(path)).load(path.parent)
    array = dataset._array
    batches = (
        resident(array, device)
        if placement == "resident"
        else staged(np.array(array) if "copy" in placement else array, device)
    )
    rng = np.random.default_rng(0)
    indices = [rng.integers(N, size=16) for _ in range(50)]
    results = [batches(index) for index in indices]
    for index, batch in zip(indices, results, strict=True):
        np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).cpu().numpy(), dataset.images(index))
