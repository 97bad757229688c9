import numpy as np
import pytest
import torch

from disentangle_bench.data import arrays
from disentangle_bench.data.arrays import ArrayDataset, resident
from disentangle_bench.data.dataset import Card
from disentangle_bench.errors import BenchError


class Few(ArrayDataset):
    card = Card("few", 1, "", ("a", "b"), (5, 4), (3, 6, 7), "none", "none")

    @classmethod
    def load(cls, folder):
        return cls(np.load(folder / "few.npy", mmap_mode="r"))


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(256, size=(20, 6, 7, 3), dtype=np.uint8)


@pytest.fixture(params=["memory", "mapped"])
def few(request, array, tmp_path):
    np.save(tmp_path / "few.npy", array)
    dataset = Few.load(tmp_path) if request.param == "mapped" else Few(array)
    assert isinstance(dataset._array, np.memmap) == (request.param == "mapped")
    return dataset


INDEX = np.array([13, 2, 19, 2, 0, 7])


def test_images_in_the_order_asked_for(few, array):
    images = few.images(INDEX)
    assert type(images) is np.ndarray
    np.testing.assert_array_equal(images, array[INDEX])
    np.testing.assert_array_equal(few.images([4, 1]), array[[4, 1]])
    assert few.images([]).shape == (0, 6, 7, 3)


def test_images_are_a_copy(few, array):
    original = array.copy()
    few.images([3])[:] = 0
    np.testing.assert_array_equal(few.images([3]), original[[3]])


def test_batches_equal_images(few, array):
    with torch.device("meta"):
        batch = few.place(torch.device("cpu"))(INDEX)
    check(batch, array)


@pytest.mark.parametrize("block", [1, 1000, 2**20])
def test_resident_batches_equal_images(few, array, monkeypatch, block):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", block)
    with torch.device("meta"):
        batch = resident(few._array, torch.device("cpu"))(INDEX)
    check(batch, array)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("free", [0, 2**40])
def test_batches_on_cuda_equal_images(few, array, monkeypatch, free):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    check(few.place(torch.device("cuda"))(INDEX).cpu(), array)


def check(batch, array):
    assert batch.device.type == "cpu"
    assert batch.dtype == torch.uint8
    assert batch.shape == (6, 3, 6, 7)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), array[INDEX])


@pytest.mark.parametrize("position", [-1, 20])
def test_positions_outside_are_refused(few, position):
    with pytest.raises(IndexError, match=r"0 \.\. 19"):
        few.images([0, position])
    with pytest.raises(IndexError, match=r"0 \.\. 19"):
        resident(few._array, torch.device("cpu"))(np.array([0, position]))


def test_an_array_of_another_size_or_type_is_refused(array):
    with pytest.raises(BenchError, match=r"few is uint8 \[20, 6, 7, 3\].* but uint8 \[19, 6, 7, 3\]"):
        Few(array[1:])
    with pytest.raises(BenchError, match="but float64"):
        Few(array.astype(np.float64))
