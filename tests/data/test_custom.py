import zipfile

import h5py
import numpy as np
import pytest
import torch

from disentangle_bench import names
from disentangle_bench.data import sources
from disentangle_bench.data.custom import custom_class
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, dataset_class
from disentangle_bench.testing import check_dataset

SIZES = (3, 2, 4)
N = 24
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(N, 8, 6, 3), dtype=np.uint8)


def save(path, images=IMAGES, form=None, **arrays):
    """A file of the user's: ``form`` is how the bytes lie in it."""
    if path.suffix == ".npz":
        (np.savez_compressed if form == "deflated" else np.savez)(path, images=images, **arrays)
    else:
        chunks = {"chunks": (5, 4, 4, 1)[: images.ndim], "compression": "gzip"} if form == "chunked" else {}
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images, **chunks)
            for name, array in arrays.items():
                array = np.asarray(array)
                file.create_dataset(name, data=array.astype("S") if array.dtype.kind == "U" else array)
    return path


FORMS = [("a.npz", None), ("a.npz", "deflated"), ("a.h5", None), ("a.hdf5", "chunked")]


@pytest.fixture(params=FORMS, ids=lambda form: f"{form[0]} {form[1] or 'plain'}")
def form(request):
    return request.param


@pytest.mark.parametrize("block", [1, 2**26])
def test_a_full_grid(tmp_path, form, monkeypatch, block):
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    path = save(tmp_path / form[0], form=form[1], factor_sizes=np.array(SIZES), factor_names=np.array(["x", "y", "z"]))
    dataset = custom_class(str(path)).load(tmp_path / "data")
    assert dataset.card.factor_names == ("x", "y", "z")
    assert dataset.card.factor_sizes == SIZES
    assert dataset.card.image_shape == (3, 8, 6)
    assert len(dataset) == N
    np.testing.assert_array_equal(dataset.images(np.arange(N)), IMAGES)
    np.testing.assert_array_equal(dataset.factors([0, 1, 4, 23]), [[0, 0, 0], [0, 0, 1], [0, 1, 0], [2, 1, 3]])
    check_dataset(dataset)


def test_a_list_of_images_and_factors(tmp_path, form):
    values = np.stack([RNG.choice([-1.5, 0.0, 7.25], N), RNG.choice([10, 20], N)], axis=1)
    values[:3] = [[7.25, 20], [-1.5, 10], [0.0, 10]]
    path = save(tmp_path / form[0], form=form[1], factors=values)
    dataset = custom_class(str(path)).load(tmp_path / "data")
    card = dataset.card
    assert card.factor_names == ("factor_0", "factor_1")
    assert card.factor_sizes == (3, 2)
    assert card.factor_values == ((-1.5, 0.0, 7.25), (10.0, 20.0))
    assert len(dataset) == N
    np.testing.assert_array_equal(dataset.factors([0, 1, 2]), [[2, 1], [0, 0], [1, 0]])
    factor_labels = [
        [v[f] for v, f in zip(card.factor_values, row, strict=True)] for row in dataset.factors(np.arange(N))
    ]
    np.testing.assert_array_equal(factor_labels, values)
    np.testing.assert_array_equal(dataset.images([5, 3]), IMAGES[[5, 3]])
    check_dataset(dataset)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_grey_images_need_no_channels(tmp_path, name):
    path = save(tmp_path / name, images=IMAGES[..., 0], factor_sizes=np.array(SIZES))
    dataset = custom_class(str(path)).load(tmp_path / "data")
    assert dataset.card.image_shape == (1, 8, 6)
    np.testing.assert_array_equal(dataset.images([7])[..., 0], IMAGES[[7], ..., 0])
    check_dataset(dataset)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_plain_bytes_are_mapped_where_they_lie(tmp_path, name):
    dataset = custom_class(str(save(tmp_path / name, factor_sizes=np.array(SIZES)))).load(tmp_path / "data")
    assert isinstance(dataset._array, np.memmap)
    assert not (tmp_path / "data").exists()


def test_compressed_images_are_unpacked_once(tmp_path, monkeypatch):
    path = save(tmp_path / "a.npz", form="deflated", factor_sizes=np.array(SIZES))
    custom_class(str(path)).load(tmp_path / "data")
    monkeypatch.setattr(sources.Npz, "blocks", lambda self: pytest.fail("unpacked again"))
    np.testing.assert_array_equal(custom_class(str(path)).load(tmp_path / "data").images([3]), IMAGES[[3]])


def test_the_version_follows_the_content_and_not_the_place(tmp_path, form):
    sizes = {"factor_sizes": np.array(SIZES)}
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    version = custom_class(str(save(tmp_path / form[0], form=form[1], **sizes))).card.version
    changed_images = IMAGES.copy()
    changed_images[-1, -1, -1, -1] ^= 1
    assert custom_class(str(save(tmp_path / "b" / form[0], changed_images, form[1], **sizes))).card.version != version
    other = save(tmp_path / "c" / form[0], form=form[1], factor_sizes=np.array([2, 3, 4]))
    assert custom_class(str(other)).card.version != version
    second_path = save(tmp_path / form[0], form=form[1], **sizes)
    assert custom_class(str(second_path)).card.version == version or form[0].endswith("5")  # HDF5 notes the time
    assert 0 < version < 2**53


def test_a_file_that_changes_is_read_again(tmp_path):
    path = save(tmp_path / "a.npz", factor_sizes=np.array(SIZES))
    assert custom_class(str(path)).card.factor_sizes == SIZES
    save(path, images=IMAGES[:8], factor_sizes=np.array([2, 4]))
    assert custom_class(str(path)).card.factor_sizes == (2, 4)


def test_the_registry_takes_paths(tmp_path):
    path = str(save(tmp_path / "a.npz", factor_sizes=np.array(SIZES)))
    assert DATASETS.names(f"rooms3d,{path}") == ["rooms3d", path]
    assert dataset_class(path).card.name == path


def test_a_wrong_name_is_still_a_wrong_name():
    with pytest.raises(BenchError, match="unknown dataset 'rooms3'"):
        DATASETS.names("rooms3")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"factor_sizes": [3, 2]}, r"24 images and factor_sizes \[3, 2\]; give factors"),
        ({"factor_sizes": np.zeros(0, int)}, r"24 images and factor_sizes \[\]; give factors"),
        ({"factors": np.zeros((23, 2))}, r"factors float64 \(23, 2\) for 24 images"),
        ({"factors": np.zeros(24)}, r"factors float64 \(24,\) for 24 images"),
        ({"factors": np.full((24, 2), np.nan)}, "not finite"),
        ({"factors": np.zeros((24, 2), dtype="U3")}, r"factors <U3 \(24, 2\)"),
        ({"factor_sizes": SIZES, "factor_names": ["a", "b"]}, "3 different ones are needed"),
        ({"factor_sizes": SIZES, "factor_names": ["a", "b", "a"]}, "3 different ones are needed"),
    ],
)
def test_what_is_not_understood_is_one_line(tmp_path, arrays, message):
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(BenchError, match=message) as error:
        custom_class(str(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
@pytest.mark.parametrize(
    ("images", "message"),
    [(IMAGES / 255, "float64"), (IMAGES.reshape(N, -1), r"uint8 \[n, h, w, c\] or \[n, h, w\] is needed")],
)
def test_other_images_are_one_line(tmp_path, name, images, message):
    path = save(tmp_path / name, images=images, factor_sizes=np.array(SIZES))
    with pytest.raises(BenchError, match=message):
        custom_class(str(path))


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "gone/a.npz"])
def test_a_file_that_is_missing_is_one_line(tmp_path, name):
    with pytest.raises(BenchError, match=r"cannot be opened \(No such file") as error:
        DATASETS.load(str(tmp_path / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04nonsense"])
def test_a_damaged_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchError, match="cannot be read") as error:
        custom_class(str(tmp_path / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_a_missing_key_is_one_line(tmp_path, name):
    path = tmp_path / name
    if name == "a.npz":
        np.savez(path, pictures=IMAGES)
    else:
        with h5py.File(path, "w") as file:
            file["pictures"] = IMAGES
    with pytest.raises(BenchError, match="has the keys pictures; 'images' is needed"):
        custom_class(str(path))


def test_nothing_is_unpickled(tmp_path):
    from support.official_files import Trap

    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"images": IMAGES, "factor_sizes": np.array(SIZES)}.items():
            with archive.open(f"{name}.npy", "w") as out:
                np.lib.format.write_array(out, array)
        with archive.open("factor_names.npy", "w") as out:
            np.lib.format.write_array(out, np.array([Trap()], dtype=object))
    with pytest.raises(BenchError, match="factor_names has the type object"):
        custom_class(str(path))


def test_batches_equal_images(tmp_path, form):
    path = save(tmp_path / form[0], form=form[1], factor_sizes=np.array(SIZES))
    batch = custom_class(str(path)).load(tmp_path / "data").place(torch.device("cpu"))(np.array([5, 3, 5]))
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), IMAGES[[5, 3, 5]])


class Point:
    """An entry point as a plug-in package would have it."""

    name, value = "my_rooms", "my_package.rooms:MyRooms"


def test_a_plugin_adds_a_dataset_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "rooms.py").write_text(
        "import numpy as np\n"
        "from disentangle_bench.data.arrays import ArrayDataset\n"
        "from disentangle_bench.data.dataset import Card\n"
        "class MyRooms(ArrayDataset):\n"
        "    card = Card('my_rooms', 1, '', ('a', 'b'), (2, 3), (1, 4, 4), 'MIT', 'me')\n"
        "    @classmethod\n"
        "    def load(cls, folder):\n"
        "        return cls(np.arange(96, dtype=np.uint8).reshape(6, 4, 4, 1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(names, "entry_points", lambda group: [Point] if group.endswith(".datasets") else [])
    table = type(DATASETS)("dataset", "disentangle_bench.datasets", ())
    assert table.names("my_rooms") == ["my_rooms"]
    dataset = table.load("my_rooms").prepare(tmp_path)
    check_dataset(dataset)
    np.testing.assert_array_equal(dataset.factors([4]), [[1, 1]])
