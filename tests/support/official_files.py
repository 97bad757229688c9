"""Small files in the exact official formats, and the images and factors that have to come out of them.

The images show their own factors: band k is as bright as factor k is far along. So a loader that mixes up the order
is found by looking at the pixels, without trusting the loader's own factors.
"""

import dataclasses
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

from disentangle_bench.data.cars3d import Cars3D
from disentangle_bench.data.dsprites import DSprites
from disentangle_bench.data.falcor3d import Falcor3D
from disentangle_bench.data.isaac3d import Isaac3D
from disentangle_bench.data.mpi3d import MPI3DReal, MPI3DRealComplex, MPI3DRealistic, MPI3DToy
from disentangle_bench.data.shapes3d import Shapes3D
from disentangle_bench.data.smallnorb import SmallNORB

RNG = np.random.default_rng(7)


@dataclass
class Case:
    """A dataset class for small official files in ``folder``, with what it has to give."""

    dataset: type
    folder: Path
    images: np.ndarray  # [n, h, w, c] as the class has to give them
    factors: np.ndarray  # [n, k], from nested loops
    levels: tuple  # values of each factor

    def read(self, images):
        """Factors [n, k] as the pixels show them."""
        k = len(self.levels)
        band = images.shape[1] // k
        rows = [band * j + band // 2 for j in range(k)]
        if self.images.max() == 255 and len(np.unique(self.images)) == 2:  # dSprites: a bar of that length
            return np.stack([(images[:, r, :, 0] > 0).sum(axis=1) - 1 for r in rows], axis=1)
        level = [(images[:, r, images.shape[2] // 2, 0].astype(float) - 40) / 160 for r in rows]
        return np.stack([np.rint(x * (n - 1)).astype(int) for x, n in zip(level, self.levels, strict=True)], axis=1)


def loops(sizes):
    """All combinations of factors, the last fastest, by counting."""
    rows, row = [], [0] * len(sizes)
    while True:
        rows.append(list(row))
        j = len(sizes) - 1
        while j >= 0 and row[j] == sizes[j] - 1:
            row[j] = 0
            j -= 1
        if j < 0:
            return np.array(rows)
        row[j] += 1


def bands(factors, sizes, side, channels):
    """Images [n, side, side, channels]: a band for each factor."""
    n, k = factors.shape
    images = np.full((n, side, side, channels), 40, dtype=np.uint8)
    height = side // k
    for j, size in enumerate(sizes):
        level = 40 + np.rint(160 * factors[:, j] / max(size - 1, 1))
        images[:, height * j : height * (j + 1)] = level[:, None, None, None] + 5 * np.arange(channels)
    return images


def bars(factors, side):
    """Images [n, side, side] of 0 and 1: for each factor a bar as long as it is large, plus one."""
    n, k = factors.shape
    images = np.zeros((n, side, side), dtype=np.uint8)
    height = side // k
    for i, row in enumerate(factors):
        for j, f in enumerate(row):
            images[i, height * j : height * (j + 1), : f + 1] = 1
    return images


def smaller(images, side, resample=Image.Resampling.LANCZOS):
    """Each image by the filter of Pillow that the card names."""
    out = []
    for image in images:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        out.append(np.asarray(picture.resize((side, side), resample)).reshape(side, side, -1))
    return np.stack(out)


def small_class(base, sizes, shape, folder, checksums=True, **changes):
    """``base`` with a card for the small files in ``folder``; checksums where the official card has them."""

    def known(file):
        content = (folder / file.name).read_bytes()
        return dataclasses.replace(
            file,
            size=len(content) if file.size else None,
            sha256=hashlib.sha256(content).hexdigest() if file.sha256 else "",
            md5=hashlib.md5(content).hexdigest() if file.md5 else "",
        )

    files = tuple(known(file) if (folder / file.name).exists() else file for file in base.card.files)
    card = dataclasses.replace(base.card, factor_sizes=sizes, image_shape=shape, files=files, factor_values=())
    return type(f"Small{base.__name__}", (base,), {"card": card, **changes})


def shapes3d(folder, base=Shapes3D):
    sizes = (2, 2, 3, 2, 4, 5)
    factors = loops(sizes)
    images = bands(factors, sizes, 12, 3)
    values = [np.arange(10) / 10] * 3 + [np.linspace(0.75, 1.25, 2), np.arange(4), np.linspace(-30, 30, 5)]
    labels = np.stack([v[f] for v, f in zip(values, factors.T, strict=True)], axis=1)
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(50, 4, 4, 1), compression="gzip")
        file.create_dataset("labels", data=labels.astype(np.float64))
    return Case(small_class(base, sizes, (3, 12, 12), folder), folder, images, factors, sizes)


class Trap:
    """Whoever unpickles it finds out."""

    def __reduce__(self):
        return (exec, ("raise AssertionError('unpickled')",))


def dsprites(folder, form="hdf5"):
    sizes = (3, 2, 3, 4, 4)
    factors = loops(sizes)
    images = bars(factors, 16)
    classes = np.concatenate([np.zeros((len(factors), 1), dtype=np.int64), factors], axis=1)
    changes = {}
    if form == "hdf5":
        with h5py.File(folder / DSprites.card.files[0].name, "w") as file:
            file.create_dataset("imgs", data=images, chunks=(40, 2, 4), compression="gzip")
            file.create_dataset("latents/classes", data=classes)
            file.create_dataset("latents/values", data=classes.astype(np.float64))
    else:
        path = folder / DSprites.npz.name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in {"imgs": images, "latents_classes": classes, "latents_values": classes * 1.0}.items():
                with archive.open(f"{name}.npy", "w") as out:
                    np.lib.format.write_array(out, array)
            with archive.open("metadata.npy", "w") as out:
                np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": ()})
                out.write(pickle.dumps(Trap()))
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        changes["npz"] = dataclasses.replace(DSprites.npz, md5=md5)
    small = small_class(DSprites, sizes, (1, 16, 16), folder, **changes)
    return Case(small, folder, images[..., None] * np.uint8(255), factors, sizes)


def mpi3d(folder, base=MPI3DToy, compressed=False):
    sizes = (2, 2, 2, 3, 2, 2, 3)
    factors = loops(sizes)
    images = bands(factors, sizes, 28, 3)
    save = np.savez_compressed if compressed else np.savez
    save(folder / base.card.files[0].name, images=images)
    return Case(small_class(base, sizes, (3, 28, 28), folder), folder, images, factors, sizes)


def pngs(folder, base, labels_name):
    sizes = (3, 2, 3, 2, 2, 2, 2, 2, 2)[: len(base.card.factor_sizes)]
    factors = loops(sizes)
    side = 8 * len(sizes)
    large = bands(factors, sizes, side, 3)
    root = base.card.files[0].name.removesuffix(".zip")
    # As the official labels are: k / (n - 1) in single precision, which times n - 1 may be just below k.
    labels = (factors / (np.array(sizes) - 1)).astype(np.float32)
    table = io.BytesIO()
    np.lib.format.write_array(table, labels)
    with zipfile.ZipFile(folder / f"{root}.zip", "w") as archive:
        for k in RNG.permutation(len(large)):
            content = io.BytesIO()
            Image.fromarray(large[k]).save(content, format="PNG")
            archive.writestr(f"{root}/images/{k:06}.png", content.getvalue())
        archive.writestr(f"{root}/{labels_name}", table.getvalue())
    images = smaller(large, side // 2, Image.Resampling.BICUBIC)
    return Case(small_class(base, sizes, (3, side // 2, side // 2), folder), folder, images, factors, sizes)


def cars3d(folder):
    sizes = (3, 4, 5)
    factors = loops(sizes)
    large = bands(factors, sizes, 24, 3)
    grid = large.reshape(*sizes, 24, 24, 3)
    names = [f"car_{number:03}_mesh" for number in (104, 7, 81, 2, 50)]  # the list's order, no other
    with tarfile.open(folder / Cars3D.card.files[0].name, "w:gz") as archive:

        def put(name, content):
            info = tarfile.TarInfo(f"data/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        for name in [*sorted(names), "car_199_mesh"]:  # the last is not in the list
            views = grid[:, :, names.index(name)] if name in names else np.zeros_like(grid[:, :, 0])
            content = io.BytesIO()
            scipy.io.savemat(content, {"im": np.transpose(views, (2, 3, 4, 1, 0))})
            put(f"cars/{name}.mat", content.getvalue())
        put("sprites/list.txt", b"not these\n")
        put("cars/list.txt", "".join(f"{name}\n" for name in names).encode())
        put("../../outside.txt", b"never written")
    return Case(small_class(Cars3D, sizes, (3, 12, 12), folder), folder, smaller(large, 12), factors, sizes)


def norb_matrix(array):
    """An array in NORB's format."""
    magic = {"u1": 0x1E3D4C55, "i4": 0x1E3D4C54}[array.dtype.str[1:]]
    dims = [*array.shape, *[1] * (3 - array.ndim)]
    return struct.pack(f"<ii{len(dims)}i", magic, array.ndim, *dims) + array.tobytes()


def smallnorb(folder):
    sizes = (2, 10, 3, 2, 3)
    factors = loops(sizes)
    large = bands(factors, sizes, 30, 1)
    for half, members in enumerate(((4, 6, 7, 8, 9), (0, 1, 2, 3, 5))):
        rows = np.flatnonzero(np.isin(factors[:, 1], members))
        rows = RNG.permutation(rows)
        pairs = np.stack([large[rows, ..., 0], 255 - large[rows, ..., 0]], axis=1)
        category, instance, elevation, azimuth, lighting = factors[rows].T
        info = np.stack([instance, elevation, 2 * azimuth, lighting], axis=1)
        parts = {"dat": pairs, "cat": category.astype("<i4"), "info": info.astype("<i4")}
        for file in SmallNORB.card.files[3 * half : 3 * half + 3]:
            part = file.name.removesuffix(".mat.gz").rpartition("-")[2]
            (folder / file.name).write_bytes(gzip.compress(norb_matrix(parts[part])))
    return Case(small_class(SmallNORB, sizes, (1, 20, 20), folder), folder, smaller(large, 20), factors, sizes)


MAKERS = {
    "shapes3d": shapes3d,
    "dsprites": dsprites,
    "dsprites npz": lambda folder: dsprites(folder, "npz"),
    "mpi3d_toy": mpi3d,
    "mpi3d_realistic": lambda folder: mpi3d(folder, MPI3DRealistic),
    "mpi3d_real deflated": lambda folder: mpi3d(folder, MPI3DReal, compressed=True),
    "mpi3d_real_complex": lambda folder: mpi3d(folder, MPI3DRealComplex),
    "isaac3d": lambda folder: pngs(folder, Isaac3D, "labels.npy"),
    "falcor3d": lambda folder: pngs(folder, Falcor3D, "train-rec.labels"),
    "cars3d": cars3d,
    "smallnorb": smallnorb,
}
