"""MPI3D (Gondal et al., 2019): a robot arm, rendered simply, rendered realistically, and photographed.

The official ``.npz`` files hold one array in grid order. If it is stored uncompressed, it is checked once and mapped in
place, which saves 12.7 GB; if it is compressed, it is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.dataset import Card, OfficialFile
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.data.zips import stored_array, streamed_array
from disentangle_bench.errors import BenchError

BLOCK = 8_192
"""Images read at a time: 101 MB."""

_FACES = "https://huggingface.co/datasets/waleedgondal/mpi3d/resolve/main/"
_GOOGLE = "https://storage.googleapis.com/mpi3d_disentanglement_dataset/data/"
_PAGE = "https://github.com/rr-learning/disentanglement_dataset"
_MEMBER = "images.npy"

_FACTORS: dict[str, tuple[Any, ...]] = {
    "object_color": ("white", "green", "red", "blue", "brown", "olive"),
    "object_shape": ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere"),
    "object_size": ("small", "large"),
    "camera_height": ("top", "center", "bottom"),
    "background_color": ("purple", "sea green", "salmon"),
    "horizontal_axis": tuple(range(40)),
    "vertical_axis": tuple(range(40)),
}
_COMPLEX: dict[str, tuple[Any, ...]] = _FACTORS | {
    "object_color": ("yellow", "green", "olive", "red"),
    "object_shape": ("coffee cup", "tennis ball", "croissant", "beer cup"),
}


def _card(name: str, summary: str, file: OfficialFile, factors: dict[str, tuple[Any, ...]] = _FACTORS) -> Card:
    return Card(
        name=name,
        version=1,
        summary=summary,
        factor_names=tuple(factors),
        factor_sizes=tuple(map(len, factors.values())),
        image_shape=(3, 64, 64),
        licence="CC-BY-4.0",
        citation="Gondal et al., On the Transfer of Inductive Bias from Simulation to the Real World: a New "
        "Disentanglement Dataset, NeurIPS 2019",
        source=_PAGE,
        files=(file,),
        factor_values=tuple(factors.values()),
        notes=(
            "A file of mpi3d_toy with 460,800 images has other factors; the number of images is checked.",
            "The authors' bucket has held a corrupt real.npz since 2024; noise instead of pictures is refused.",
            "Results that DisCo, EncDiff and DisDiff call MPI3D are, by their code, on mpi3d_toy.",
        ),
    )


class MPI3D(OfficialDataset):
    """Base of the four datasets of MPI3D."""

    @classmethod
    def in_place(cls, paths: Sequence[Path]) -> str | None:
        """Return the name of the file's only array if it is stored uncompressed, else None."""
        return _MEMBER if stored_array(paths[0], _MEMBER) else None

    @classmethod
    def blocks(cls, paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the images in grid order; takes 200 MB of memory. Reading to the end checks the zip's CRC-32."""
        n, (c, h, w) = len(cls.card.grid), cls.card.image_shape
        done = 0
        for images in streamed_array(paths[0], _MEMBER, BLOCK):
            if images.shape[1:] != (h, w, c):
                raise BenchError(f"{paths[0]} has images {images.shape[1:]}; {(h, w, c)} is needed.")
            _check_pictures(images, paths[0], done)
            done += len(images)
            yield images
        if done != n:
            other = " It is the older upload with other factors." if (done, n) == (460_800, 1_036_800) else ""
            raise BenchError(f"{paths[0]} has {done} images; {cls.card.name} has {n}.{other}")


def _check_pictures(images: npt.NDArray[np.uint8], source: Path, begin: int) -> None:
    """Raise ``BenchError`` unless some images of a block look like pictures whose neighbours are alike.

    Adjacent pixels, and the same pixels of successive images, differ less than randomly chosen pixels do; in noise they
    differ just as much.
    """
    some = images[:64].astype(np.float64)
    if len(some) < 32:  # too few to tell
        return
    rng = np.random.default_rng(0)
    flat = some.reshape(-1, some.shape[-1])
    anywhere = np.abs(flat[rng.permutation(len(flat))] - flat).mean()
    across, down = np.abs(np.diff(some, axis=2)).mean(), np.abs(np.diff(some, axis=1)).mean()
    along = np.abs(np.diff(some, axis=0)).mean()
    if anywhere == 0 or max(across, down, along) > 0.75 * anywhere:
        raise BenchError(
            f"{source} is corrupt: images {begin} to {begin + len(some) - 1} are no pictures (a bad upload has been on "
            f"the authors' bucket since 2024: {_PAGE}/issues/5). Delete it and fetch it again."
        )


class MPI3DToy(MPI3D):
    """The dataset ``mpi3d_toy``."""

    card: ClassVar[Card] = _card(
        "mpi3d_toy",
        "A robot arm with an object, rendered simply: 1,036,800 images.",
        OfficialFile(
            "mpi3d_toy.npz",
            (f"{_FACES}mpi3d_toy.npz", f"{_GOOGLE}mpi3d_toy.npz"),
            md5="55889cb7c7dfc655d6e0277beee88868",
            advisory=True,
        ),
    )


class MPI3DRealistic(MPI3D):
    """The dataset ``mpi3d_realistic``."""

    card: ClassVar[Card] = _card(
        "mpi3d_realistic",
        "A robot arm with an object, rendered realistically: 1,036,800 images.",
        OfficialFile(
            "mpi3d_realistic.npz",
            (f"{_FACES}mpi3d_realistic.npz", f"{_GOOGLE}mpi3d_realistic.npz"),
            md5="59a6225b88b635365f70c91b3e52f70f",
            advisory=True,
        ),
    )


class MPI3DReal(MPI3D):
    """The dataset ``mpi3d_real``."""

    card: ClassVar[Card] = _card(
        "mpi3d_real",
        "A robot arm with an object, photographed: 1,036,800 images.",
        OfficialFile(
            "mpi3d_real.npz",
            (f"{_FACES}mpi3d_real.npz",),  # the bucket's real.npz is the corrupt upload
            md5="0f33f609918fb5c97996692f91129802",
            advisory=True,
        ),
    )


class MPI3DRealComplex(MPI3D):
    """The dataset ``mpi3d_real_complex``."""

    card: ClassVar[Card] = _card(
        "mpi3d_real_complex",
        "A robot arm with everyday objects, photographed: 460,800 images.",
        OfficialFile(
            "real3d_complicated_shapes_ordered.npz",
            (
                "https://drive.google.com/uc?export=download&id=1Tp8eTdHxgUMtsZv5uAoYAbJR1BOa_OQm",
                "https://huggingface.co/datasets/randall-lab/mpi3d-complex/resolve/main/"
                "real3d_complicated_shapes_ordered.npz",
            ),
        ),
        _COMPLEX,
    )
