"""How fast images come: from a mapped array against a folder of PNGs, from the drawn sets, and out of official files.

python -m pytest benchmarks/test_data_speed.py -m slow -s

Takes some minutes, and 8 GB in the folder for temporary files. Prints what it measures and asserts what is promised.
"""

import dataclasses
import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.arrays import staged
from disentangle_bench.data.cars3d import Cars3D
from disentangle_bench.data.dsprites import DSprites, class_grid
from disentangle_bench.data.dsprites_rendered import DSpritesRendered
from disentangle_bench.data.rooms3d import Rooms3D
from disentangle_bench.data.shapes3d import label_grid
from disentangle_bench.data.smallnorb import SmallNORB
from disentangle_bench.registry import dataset_class
from disentangle_bench.training.trainer import Trainer

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
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
dataset_class = test_data_speed.unchecked(name)
began = time.perf_counter()
array = dataset_class.load(folder)._array
seconds = time.perf_counter() - began
status = pathlib.Path("/proc/self/status").read_text()  # of this process alone; getrusage counts its parent's past
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"MB/s": array.nbytes / seconds / 1e6, "MB": array.nbytes / 1e6, "peak": peak / 1e3}))
"""

PARTS = {
    "shapes3d": (1, 10, 10, 8, 4, 15),
    "mpi3d_toy": (1, 6, 2, 3, 3, 40, 40),
    "isaac3d": (3, 8, 5, 4, 4, 1, 6, 1, 1),
}
"""Sizes where a part is measured, of sets that are read block by block; the others are measured whole."""


def unchecked(name):
    """The class of a dataset for files that only look like the official ones."""
    base = dataset_class(name)
    files = tuple(dataclasses.replace(file, size=None, sha256="", md5="") for file in base.card.files)
    sizes = PARTS.get(name, base.card.factor_sizes)
    card = dataclasses.replace(base.card, factor_sizes=sizes, files=files, factor_values=())
    unchecked_class = type("Unchecked", (base,), {"card": card})
    if base is DSprites:
        unchecked_class.npz = dataclasses.replace(base.npz, md5="")
    return unchecked_class


def built(name, folder):
    """Build from the files in ``folder``, in a process of its own: rate, size and peak memory."""
    words = [sys.executable, "-c", BUILD, str(folder), name]
    here = str(Path(__file__).parent)
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=here)
    measured = json.loads(done.stdout)
    print(f"\n{name}: {measured['MB/s']:.0f} MB/s of {measured['MB']:.0f} MB, peak memory {measured['peak']:.0f} MB")
    assert measured["peak"] < 2000
    return measured


def blocks(dataset, n, size):
    return (dataset.images(np.arange(begin, min(begin + size, n))) for begin in range(0, n, size))


def test_building_shapes3d(rooms, tmp_path):
    """From a file in the official layout, with the pictures of rooms3d: chunks of 15,000 images x 4 x 4 pixels."""
    card = unchecked("shapes3d").card
    n = len(card.grid)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        images = file.create_dataset("images", (n, 64, 64, 3), "u1", chunks=(15_000, 4, 4, 1), compression="gzip")
        for k, block in enumerate(blocks(rooms, n, 15_000)):
            images[15_000 * k : 15_000 * k + len(block)] = block
        file["labels"] = label_grid(card)
    assert built("shapes3d", tmp_path)["MB/s"] >= 20


@pytest.mark.parametrize("form", ["hdf5", "npz"])
def test_building_dsprites(tmp_path, form):
    """The whole set, from dsprites_rendered."""
    sprites, n = DSpritesRendered(), 737_280
    classes = class_grid(DSprites.card)
    if form == "hdf5":
        with h5py.File(tmp_path / DSprites.card.files[0].name, "w") as file:
            images = file.create_dataset("imgs", (n, 64, 64), "u1", chunks=(23_040, 2, 4), compression="gzip")
            for k, block in enumerate(blocks(sprites, n, 23_040)):
                images[23_040 * k : 23_040 * (k + 1)] = block[..., 0] // 255
            file["latents/classes"] = classes
    else:
        with zipfile.ZipFile(tmp_path / DSprites.npz.name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("imgs.npy", "w", force_zip64=True) as out:
                header = {"descr": "|u1", "fortran_order": False, "shape": (n, 64, 64)}
                np.lib.format.write_array_header_1_0(out, header)
                for block in blocks(sprites, n, 23_040):
                    out.write((block // 255).tobytes())
            with archive.open("latents_classes.npy", "w") as out:
                np.lib.format.write_array(out, classes)
    built("dsprites", tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
def test_building_mpi3d(rooms, tmp_path, compressed):
    n = len(unchecked("mpi3d_toy").card.grid)
    # One picture and a trace of a square that moves: neighbours have to be alike.
    images = np.repeat(rooms.images([1234]), n, axis=0)
    images[:, :4, :4] = np.arange(n, dtype=np.uint32).astype(np.uint8)[:, None, None, None]
    (np.savez_compressed if compressed else np.savez)(tmp_path / "mpi3d_toy.npz", images=images)
    built("mpi3d_toy", tmp_path)


def test_building_isaac3d(rooms, tmp_path):
    card = unchecked("isaac3d").card
    factors = card.grid.factors(np.arange(len(card.grid)))
    table = io.BytesIO()
    np.save(table, (factors / np.maximum(np.array(card.factor_sizes) - 1, 1)).astype(np.float32))
    with zipfile.ZipFile(tmp_path / card.files[0].name, "w") as archive:
        archive.writestr("Isaac3D_down128/labels.npy", table.getvalue())
        for k, image in enumerate(rooms.images(np.arange(len(factors)))):
            png = io.BytesIO()
            Image.fromarray(image).resize((128, 128)).save(png, format="PNG")
            archive.writestr(f"Isaac3D_down128/images/{k:06}.png", png.getvalue())
    built("isaac3d", tmp_path)


def test_building_cars3d(rooms, tmp_path):
    """The whole set: 183 cars x 24 x 4 at 128 x 128."""
    with tarfile.open(tmp_path / Cars3D.card.files[0].name, "w:gz", compresslevel=1) as archive:

        def put(name, content):
            info = tarfile.TarInfo(f"data/cars/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        put("list.txt", "\n".join(f"car_{k:03}_mesh" for k in range(183)).encode())
        for k in range(183):
            views = rooms.images(np.arange(96) + 96 * k).repeat(2, axis=1).repeat(2, axis=2).reshape(4, 24, 128, 128, 3)
            content = io.BytesIO()
            savemat(content, {"im": views.transpose(2, 3, 4, 1, 0)}, do_compression=True)
            put(f"car_{k:03}_mesh.mat", content.getvalue())
    built("cars3d", tmp_path)


def test_building_smallnorb(tmp_path):
    """The whole set: 48,600 pairs at 96 x 96."""
    rng = np.random.default_rng(0)
    card = SmallNORB.card
    factors = card.grid.factors(np.arange(len(card.grid)))
    for half, members in enumerate(((4, 6, 7, 8, 9), (0, 1, 2, 3, 5))):
        rows = rng.permutation(factors[np.isin(factors[:, 1], members)])
        info = rows[:, 1:] * np.array([1, 1, 2, 1])
        parts = {"cat": rows[:, 0].astype("<i4"), "info": info.astype("<i4")}
        data, category, labels = card.files[3 * half : 3 * half + 3]
        for file, part in ((category, "cat"), (labels, "info")):
            dims = (*parts[part].shape, 1, 1)[:3]
            head = struct.pack("<iiiii", 0x1E3D4C54, parts[part].ndim, *dims)
            (tmp_path / file.name).write_bytes(gzip.compress(head + parts[part].tobytes()))
        with gzip.open(tmp_path / data.name, "wb", compresslevel=1) as out:
            out.write(struct.pack("<iiiiii", 0x1E3D4C55, 4, len(rows), 2, 96, 96))
            pair = rng.integers(256, size=(2, 96, 96), dtype=np.uint8) // 16
            for row in rows:
                out.write(((pair + row.sum()) % 256).astype(np.uint8).tobytes())
    built("smallnorb", tmp_path)


@pytest.mark.parametrize("drawn", [DSpritesRendered, Rooms3D])
def test_a_drawn_batch_costs_little_of_an_update(tmp_path, drawn):
    dataset = drawn.load(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spec = resolve("beta_vae", dataset.card.name, "standard", 0, ["training.batch_size=64", CONV64]).spec
        trainer = Trainer(spec, dataset, CPU)
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
