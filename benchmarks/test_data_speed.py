"""How fast images come: from a mapped array against a folder of PNGs, from the drawn sets, and out of official files.

python -m pytest benchmarks/test_data_speed.py -m slow -s

Takes some minutes, and 2 GB in the folder for temporary files. Prints what it measures and asserts what is promised.
"""

import dataclasses
import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from disentangle_bench.data.arrays import staged
from disentangle_bench.data.dsprites_rendered import DSpritesRendered
from disentangle_bench.data.rooms3d import Rooms3D
from disentangle_bench.data.shapes3d import Shapes3D, label_grid
from disentangle_bench.resolve import resolve
from disentangle_bench.train import Trainer

pytestmark = pytest.mark.slow

N, BATCH = 480_000, 256
CPU = torch.device("cpu")
CONV64 = "training.network=conv64"


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return Rooms3D.load(tmp_path_factory.mktemp("rooms"))


class PNGs(torch.utils.data.Dataset):
    """The usual way: a file for each image, read with Pillow by the workers of a DataLoader."""

    def __init__(self, folder):
        self.files = sorted(map(str, folder.glob("*.png")))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, k):
        with Image.open(self.files[k]) as image:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def png_rate(rooms, folder, count=10_000):
    """Images per second of a DataLoader with two workers; the files are in the system's cache, as they were just
    written, and the second epoch is measured, so that the workers' start is not.
    """
    folder.mkdir()
    for k in np.random.default_rng(0).integers(N, size=count):
        Image.fromarray(rooms.images([k])[0]).save(folder / f"{k:06}.png")
    loader = torch.utils.data.DataLoader(
        PNGs(folder), batch_size=BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    for _ in loader:
        pass
    best, files = 0.0, len(loader.dataset)
    for _ in range(2):
        began = time.perf_counter()
        for _ in loader:
            pass
        best = max(best, files / (time.perf_counter() - began))
    return best


def mapped(path):
    """A sparse array on the disk with random bytes in places, mapped."""
    with path.open("wb") as file:
        shape = (N, 64, 64, 3)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        begin = file.tell()
        file.truncate(begin + int(np.prod(shape)))
        rng = np.random.default_rng(0)
        for k in rng.integers(N, size=2000):
            file.seek(begin + int(k) * 64 * 64 * 3)
            file.write(rng.bytes(64 * 64 * 3))
    return np.load(path, mmap_mode="r")


def rate(batches, seconds=4.0):
    """Images per second of random batches of 256."""
    drawn = np.random.default_rng(1).integers(N, size=(1000, BATCH))
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        batches(drawn[done % len(drawn)])
        done += 1
    return done * BATCH / spent


def test_a_mapped_array_is_20_times_faster_than_pngs(rooms, tmp_path):
    array = mapped(tmp_path / "array.npy")
    batches = staged(array, CPU)
    first = rate(batches)  # the pages are made and mapped as they are touched
    warm = max(rate(batches) for _ in range(3))
    pngs = png_rate(rooms, tmp_path / "pngs")
    print(f"\nmapped array: {first:,.0f} images/s at first, {warm:,.0f} then; PNGs, 2 workers: {pngs:,.0f} images/s")
    print(f"mapped array / PNGs = {warm / pngs:.1f}")
    assert warm >= 20 * pngs


BUILD = """
import json, pathlib, sys, time
import test_data_speed
folder = pathlib.Path(sys.argv[1])
began = time.perf_counter()
dataset = test_data_speed.part_of_shapes3d(folder).load(folder)
seconds = time.perf_counter() - began
status = pathlib.Path("/proc/self/status").read_text()  # of this process alone; getrusage counts its parent's past
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
size = dataset._array.nbytes
print(json.dumps({"MB/s": size / seconds / 1e6, "MB": size / 1e6, "peak": peak / 1e3}))
"""


def part_of_shapes3d(folder):
    """The class for a tenth of Shapes3D: one floor hue, 48,000 images."""
    files = (dataclasses.replace(Shapes3D.card.files[0], size=None, sha256=""),)
    card = dataclasses.replace(Shapes3D.card, factor_sizes=(1, 10, 10, 8, 4, 15), files=files, factor_values=())
    return type("Part", (Shapes3D,), {"card": card})


def test_building_shapes3d(rooms, tmp_path):
    """From a file in the official layout, with the pictures of rooms3d: chunks of 15,000 images x 4 x 4 pixels."""
    small = part_of_shapes3d(tmp_path)
    n = len(small.card.grid)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        shape = (n, 64, 64, 3)
        images = file.create_dataset("images", shape, "u1", chunks=(15_000, 4, 4, 1), compression="gzip")
        for begin in range(0, n, 15_000):
            images[begin : begin + 15_000] = rooms.images(np.arange(begin, min(begin + 15_000, n)))
        file["labels"] = label_grid(small.card)
    words = [sys.executable, "-c", BUILD, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=__file__.rpartition("/")[0])
    found = json.loads(done.stdout)
    print(f"\nbuilding shapes3d: {found['MB/s']:.0f} MB/s of {found['MB']:.0f} MB, peak memory {found['peak']:.0f} MB")
    assert found["MB/s"] >= 20
    assert found["peak"] < 2000


@pytest.mark.parametrize("drawn", [DSpritesRendered, Rooms3D])
def test_a_drawn_batch_costs_little_of_an_update(tmp_path, drawn):
    dataset = drawn.load(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spec = resolve("beta_vae", dataset.card.name, "standard", 0, ["training.batch_size=64", CONV64]).spec
        trainer = Trainer(spec, dataset, tmp_path, CPU)
        trainer.update()
        updates = []
        for _ in range(15):
            began = time.perf_counter()
            trainer.update()
            updates.append(time.perf_counter() - began)
        batches = dataset.place(CPU)
        times = []
        for index in np.random.default_rng(0).integers(len(dataset), size=(200, 64)):
            began = time.perf_counter()
            batches(index)
            times.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    batch, update = np.median(times), np.median(updates)
    print(f"\n{dataset.card.name}: a batch of 64 takes {1e3 * batch:.2f} ms, an update {1e3 * update:.0f} ms")
    assert batch < 0.05 * update
