import dataclasses
import hashlib
import logging

import h5py
import numpy as np
import pytest

from disentangle_bench.data import shapes3d
from disentangle_bench.data.shapes3d import Shapes3D, label_grid
from disentangle_bench.errors import BenchError

CARD = dataclasses.replace(Shapes3D.card, factor_sizes=(2, 1, 3, 2, 4, 5), image_shape=(3, 8, 8))
N = 240


def grid_labels():
    """The labels in the official order, from six loops."""
    return [
        [floor, wall, object_hue, scale, shape, orientation]
        for floor in (0.0, 0.1)
        for wall in (0.0,)
        for object_hue in (0.0, 0.1, 0.2)
        for scale in (0.75, 1.25)
        for shape in (0, 1, 2, 3)
        for orientation in (-30, -15, 0, 15, 30)
    ]


def official(path):
    file = Shapes3D.card.files[0]
    return dataclasses.replace(file, size=None, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def write(folder, images, labels, keys=("images", "labels")):
    """An HDF5 file laid out as the official one, and the dataset class that expects it."""
    path = folder / "3dshapes.h5"
    with h5py.File(path, "w") as file:
        if "images" in keys:
            file.create_dataset("images", data=images, chunks=(50, 4, 4, 1), compression="gzip")
        if "labels" in keys:
            file.create_dataset("labels", data=np.asarray(labels, dtype=np.float64))

    class Small(Shapes3D):
        card = dataclasses.replace(CARD, files=(official(path),))

    return Small


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(256, size=(N, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def small(tmp_path, images):
    return write(tmp_path, images, grid_labels())


@pytest.mark.parametrize("block", [1, 7, 50, 10_000])
def test_every_pixel_is_in_its_place(tmp_path, small, images, monkeypatch, block):
    monkeypatch.setattr(shapes3d, "BLOCK", block)
    dataset = small.load(tmp_path)
    np.testing.assert_array_equal(dataset.images(np.arange(N)), images)
    np.testing.assert_array_equal(np.load(tmp_path / "shapes3d-v1.npy"), images)
    for k in (0, 1, 77, N - 1):
        labels = [v[f] for v, f in zip(LEVELS, dataset.factors([k])[0], strict=True)]
        assert labels == grid_labels()[k]


LEVELS = ((0.0, 0.1), (0.0,), (0.0, 0.1, 0.2), (0.75, 1.25), (0, 1, 2, 3), (-30, -15, 0, 15, 30))


def test_the_official_labels():
    labels = label_grid(Shapes3D.card)
    assert labels.shape == (480_000, 6)
    np.testing.assert_allclose(labels[0], [0, 0, 0, 0.75, 0, -30])
    np.testing.assert_allclose(labels[-1], [0.9, 0.9, 0.9, 1.25, 3, 30])
    np.testing.assert_allclose(labels[1], [0, 0, 0, 0.75, 0, -30 + 60 / 14])


def test_the_prepared_array_is_mapped_and_needs_no_official_file(tmp_path, small, images):
    small.load(tmp_path)
    (tmp_path / "3dshapes.h5").unlink()
    dataset = small.load(tmp_path)
    assert isinstance(dataset._array, np.memmap)
    np.testing.assert_array_equal(dataset.images([5, 3]), images[[5, 3]])


def test_a_missing_file_is_one_line_that_helps(tmp_path):
    with pytest.raises(BenchError) as error:
        Shapes3D.load(tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for part in ("3dshapes.h5", "https://storage.googleapis.com/3d-shapes/3dshapes.h5", str(tmp_path), "rooms3d"):
        assert part in message


@pytest.mark.parametrize("column", range(6))
def test_other_labels_are_refused(tmp_path, images, column):
    labels = np.array(grid_labels())
    labels[100, column] += 0.01
    with pytest.raises(BenchError, match="image 100 has labels"):
        write(tmp_path, images, labels).load(tmp_path)
    assert not (tmp_path / "shapes3d-v1.npy").exists()


def test_another_order_is_refused(tmp_path, images):
    with pytest.raises(BenchError, match="image 1 has labels"):
        write(tmp_path, images, sorted(grid_labels(), key=lambda label: label[5])).load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[1:], "239"),
        (lambda images: images.astype(np.float32), "float32"),
    ],
)
def test_other_images_are_refused(tmp_path, images, change, message):
    with pytest.raises(BenchError, match=message):
        write(tmp_path, change(images), grid_labels()).load(tmp_path)


def test_labels_of_another_size_are_refused(tmp_path, images):
    with pytest.raises(BenchError, match=r"labels \(240, 5\)"):
        write(tmp_path, images, np.array(grid_labels())[:, :5]).load(tmp_path)


def test_a_missing_key_is_refused(tmp_path, images):
    with pytest.raises(BenchError, match="'images' and 'labels' are needed"):
        write(tmp_path, images, grid_labels(), keys=("images",)).load(tmp_path)


def test_a_file_with_another_checksum_is_refused(tmp_path, small):
    with (tmp_path / "3dshapes.h5").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BenchError, match="not the official file") as error:
        small.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_hdf5_is_refused(tmp_path):
    path = tmp_path / "3dshapes.h5"
    path.write_bytes(b"<html>")

    class Page(Shapes3D):
        card = dataclasses.replace(CARD, files=(official(path),))

    with pytest.raises(BenchError, match="is a web page"):
        Page.load(tmp_path)


class Stop(BaseException):
    pass


def test_an_interrupted_preparation_leaves_nothing_and_is_made_up_for(tmp_path, small, images, monkeypatch):
    def half(paths):
        yield images[:10]
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(small, "blocks", half)
        with pytest.raises(Stop):
            small.load(tmp_path)
    assert not (tmp_path / "shapes3d-v1.npy").exists()
    np.testing.assert_array_equal(small.load(tmp_path).images(np.arange(N)), images)


def test_what_a_killed_process_left_is_not_used_and_removed(tmp_path, small, images):
    leftover = tmp_path / ".shapes3d-v1-abc.tmp.npy"
    leftover.write_bytes(b"half")
    np.testing.assert_array_equal(small.load(tmp_path).images(np.arange(N)), images)
    assert not leftover.exists()


def test_temporary_files_have_the_name_that_is_cleaned_up(tmp_path, small, images, monkeypatch):
    temporaries = []

    def blocks(paths):
        temporaries.extend(tmp_path.glob("*.tmp*"))
        yield images

    monkeypatch.setattr(small, "blocks", blocks)
    small.load(tmp_path)
    assert len(temporaries) == 1
    assert temporaries[0].match(".shapes3d-v1-*.tmp.npy")


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"nothing like it"])
def test_a_damaged_array_is_never_used(tmp_path, small, damage):
    small.load(tmp_path)
    file = tmp_path / "shapes3d-v1.npy"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BenchError, match=r"is damaged|is not what") as error:
        small.load(tmp_path)
    assert "\n" not in str(error.value)


def test_an_array_of_another_size_is_refused(tmp_path, small, images):
    np.save(tmp_path / "shapes3d-v1.npy", images[:10])
    with pytest.raises(BenchError, match=r"is not what shapes3d-v1\.json describes"):
        small.load(tmp_path)


def test_preparing_is_told_once(tmp_path, small, caplog):
    with caplog.at_level(logging.INFO):
        small.load(tmp_path)
        small.load(tmp_path)
    assert sum(record.getMessage().startswith("preparing ") for record in caplog.records) == 1
