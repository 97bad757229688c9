"""Every dataset that comes as official files, from a file in the official format to images by index."""

import dataclasses
import logging
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.data import dsprites, numbered_pngs, shapes3d
from disentangle_bench.data import mpi3d as mpi3d_module
from disentangle_bench.data.isaac3d import Isaac3D
from disentangle_bench.data.mpi3d import MPI3DReal, MPI3DToy
from disentangle_bench.data.official import OfficialDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, metric_module
from disentangle_bench.testing import check_dataset
from support.official_files import MAKERS, loops, mpi3d, pngs, smallnorb

OFFICIAL = [name for name in DATASETS.entries if issubclass(DATASETS.load(name), OfficialDataset)]


@pytest.fixture
def served(case, server):
    """The case's files on a server, and not in the data folder."""
    for path in case.folder.iterdir():
        server.files[path.name] = path.read_bytes()
    small = case.dataset

    def moved(file):
        return dataclasses.replace(file, urls=(f"{server.url}/{file.name}",))

    small.card = dataclasses.replace(small.card, files=tuple(map(moved, small.card.files)))
    return case


def test_all_datasets_have_a_maker():
    assert {name.split()[0] for name in MAKERS} == set(OFFICIAL)


def test_from_download_to_index(served, tmp_path):
    """Order, type and factors of every image, pixel by pixel."""
    if hasattr(served.dataset, "npz") and served.folder.joinpath(served.dataset.npz.name).exists():
        pytest.skip("the .npz of dSprites is never downloaded, only used where it lies")
    folder = tmp_path / "data"
    reports = []
    dataset = served.dataset.prepare(folder, report=lambda *progress: reports.append(progress))
    n = len(served.images)
    assert len(dataset) == n
    images = dataset.images(np.arange(n))
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, served.images)
    np.testing.assert_array_equal(dataset.factors(np.arange(n)), served.factors)
    positions = np.random.default_rng(0).permutation(n)[:50]
    np.testing.assert_array_equal(dataset.images(positions), served.images[positions])
    check_dataset(dataset)
    lines = served.dataset.verify(folder)
    assert len(lines) == len(served.dataset.card.files) + 1
    assert all(done <= total for _, done, total in reports)
    assert {stage.split()[0] for stage, _, _ in reports} >= {"downloading"}
    assert not list(folder.glob("*.part*"))
    assert not list(folder.glob(".*tmp*"))


def test_the_pixels_show_the_factors_that_the_dataset_gives(case):
    """Metrics see factors in the card's order: codes read from the images as identity codes score 1."""
    dataset = case.dataset.load(case.folder)
    # Every image once to fit and once to test, so that no factor depends on another by chance.
    index = np.concatenate([np.random.default_rng(seed).permutation(len(dataset)) for seed in range(2)])
    codes = case.read(dataset.images(index))
    factors = dataset.factors(index)
    np.testing.assert_array_equal(codes, factors)
    evaluation = Evaluation(Codes(codes.astype(np.float64), codes), factors, n_train=len(dataset))
    infomec, dci = metric_module("infomec"), metric_module("dci")
    scores = infomec.score(evaluation, variant=next(iter(infomec.CARD.variants)), rng=0).scores
    for name in ("modularity", "explicitness", "compactness"):  # explicitness pays for a penalty on weights
        assert scores[name] == pytest.approx(1, abs=1e-3), name
    if len(dataset) < 300:
        scores = dci.score(evaluation, variant=next(iter(dci.CARD.variants)), rng=0).scores
        for name in ("disentanglement", "completeness"):
            assert scores[name] == pytest.approx(1, abs=1e-6), name


@pytest.mark.parametrize("name", DATASETS.entries)
def test_identity_codes_score_1_on_the_full_grid(name):
    """Two values of each factor, at positions counted here, and no pixels."""
    cls = DATASETS.load(name)
    sizes = cls.card.factor_sizes
    labels = np.array(loops((2,) * len(sizes))) * (np.array(sizes) - 1)
    strides = [int(np.prod(sizes[k + 1 :])) for k in range(len(sizes))]
    dataset = object.__new__(cls)
    factors = dataset.factors(labels @ strides)
    np.testing.assert_array_equal(factors, labels)
    repeated_factors = np.concatenate([factors, factors[::-1]] * 8)  # enough rows of a small grid to fit trees to
    evaluation = Evaluation(
        Codes(repeated_factors.astype(np.float64), repeated_factors),
        repeated_factors,
        n_train=len(repeated_factors) // 2,
    )
    infomec, dci = metric_module("infomec"), metric_module("dci")
    scores = infomec.score(evaluation, variant=next(iter(infomec.CARD.variants)), rng=0).scores
    scores |= dci.score(evaluation, variant=next(iter(dci.CARD.variants)), rng=0).scores
    for score in ("modularity", "explicitness", "compactness", "disentanglement", "completeness", "informativeness"):
        assert scores[score] == pytest.approx(1, abs=1e-3), score


@pytest.mark.parametrize("name", DATASETS.entries)
def test_a_card_says_what_there_is_to_know(name):
    card = DATASETS.load(name).card
    assert card.name == name
    assert len(card.factor_names) == len(card.factor_sizes) == len(set(card.factor_names))
    assert tuple(map(len, card.factor_values)) == card.factor_sizes
    assert all(len(set(values)) == len(values) for values in card.factor_values)
    assert card.licence
    assert card.citation
    for file in card.files:
        assert card.source.startswith("http")
        assert file.urls
        assert all(url.startswith("http") for url in file.urls)
        assert file.name == Path(file.name).name
        assert len(file.sha256) in (0, 64)
        assert len(file.md5) in (0, 32)


COUNTS = {
    "shapes3d": 480_000,
    "dsprites": 737_280,
    "mpi3d_toy": 1_036_800,
    "mpi3d_realistic": 1_036_800,
    "mpi3d_real": 1_036_800,
    "mpi3d_real_complex": 460_800,
    "isaac3d": 737_280,
    "falcor3d": 233_280,
    "cars3d": 17_568,
    "smallnorb": 48_600,
}


def test_official_numbers_of_images():
    assert {name: len(DATASETS.load(name).card.grid) for name in OFFICIAL} == COUNTS


def test_names_of_official_files_differ():
    names = [file.name for name in OFFICIAL for file in DATASETS.load(name).card.files]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_blocks_of_any_size_give_the_same_array(case, monkeypatch, rows):
    for module in (shapes3d, dsprites, mpi3d_module, numbered_pngs):
        monkeypatch.setattr(module, "BLOCK", rows)
    np.testing.assert_array_equal(case.dataset.load(case.folder).images(np.arange(len(case.images))), case.images)


def test_a_stored_array_is_mapped_in_place(tmp_path):
    case = mpi3d(tmp_path)
    dataset = case.dataset.load(tmp_path)
    assert isinstance(dataset._array, np.memmap)
    assert Path(dataset._array.filename) == tmp_path / "mpi3d_toy.npz"
    assert not list(tmp_path.glob("*.npy"))
    # And is not read again: it would be found out to have changed.
    monkey = type("Deaf", (case.dataset,), {"blocks": classmethod(lambda cls, paths: pytest.fail("read again"))})
    np.testing.assert_array_equal(monkey.load(tmp_path).images([5]), case.images[[5]])


def test_a_file_mapped_in_place_and_replaced_is_checked_again(tmp_path):
    case = mpi3d(tmp_path)
    case.dataset.load(tmp_path)
    noise = np.random.default_rng(0).integers(256, size=case.images.shape, dtype=np.uint8)
    np.savez(tmp_path / "mpi3d_toy.npz", images=noise)
    with pytest.raises(BenchError, match="no pictures"):
        case.dataset.load(tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
def test_noise_instead_of_photographs_is_refused(tmp_path, compressed):
    case = mpi3d(tmp_path, MPI3DReal, compressed)
    noise = np.random.default_rng(0).integers(256, size=case.images.shape, dtype=np.uint8)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "mpi3d_real.npz", images=noise)
    with pytest.raises(BenchError, match=r"corrupt.*no pictures") as error:
        case.dataset.load(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("mpi3d_real-v1.*npy"))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_wrong_byte_in_a_file_without_checksum_is_found_by_its_crc(tmp_path, compressed):
    case = mpi3d(tmp_path, compressed=compressed)
    path = tmp_path / "mpi3d_toy.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(BenchError, match="cannot prepare") as error:
        case.dataset.load(tmp_path)
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mpi3d_toy-v1.npy.lock", "mpi3d_toy.npz"]


def test_another_number_of_images_is_refused(tmp_path):
    case = mpi3d(tmp_path)
    np.savez(tmp_path / "mpi3d_toy.npz", images=case.images[:-1])
    with pytest.raises(BenchError, match="287 images; mpi3d_toy has 288"):
        case.dataset.load(tmp_path)


def test_the_older_upload_is_named(tmp_path, monkeypatch):
    block = np.broadcast_to(np.uint8(0), (460_800 // 10, 64, 64, 3))
    monkeypatch.setattr(mpi3d_module, "streamed_array", lambda *args: iter([block] * 10))
    monkeypatch.setattr(mpi3d_module, "_check_pictures", lambda *args: None)
    with pytest.raises(BenchError, match=r"460800 images; mpi3d_toy has 1036800\. It is the older upload"):
        list(MPI3DToy.blocks([tmp_path / "mpi3d_toy.npz"]))


def test_an_advisory_checksum_warns_and_does_not_refuse(tmp_path, caplog):
    case = mpi3d(tmp_path)
    file = dataclasses.replace(case.dataset.card.files[0], md5="0" * 32)
    case.dataset.card = dataclasses.replace(case.dataset.card, files=(file,))
    with caplog.at_level(logging.WARNING):
        case.dataset.load(tmp_path)
    assert "that of an earlier upload" in caplog.text


def test_labels_of_another_grid_are_refused(tmp_path):
    case = pngs(tmp_path, Isaac3D, "labels.npy")
    case.dataset.card = dataclasses.replace(case.dataset.card, factor_sizes=(2, 3, *case.dataset.card.factor_sizes[2:]))
    with pytest.raises(BenchError, match="no column of the labels is object_shape"):
        case.dataset.load(tmp_path)


def test_the_columns_of_labels_may_be_in_another_order(tmp_path):
    """The README of Isaac3D names the strides in another order than the images are in."""
    case = pngs(tmp_path, Isaac3D, "labels.npy")
    path = tmp_path / case.dataset.card.files[0].name
    _rewrite(path, "labels.npy", lambda labels: labels[:, ::-1])
    np.testing.assert_array_equal(case.dataset.load(tmp_path).images([5, 3]), case.images[[5, 3]])


def test_a_missing_png_is_named(tmp_path):
    case = pngs(tmp_path, Isaac3D, "labels.npy")
    path = tmp_path / case.dataset.card.files[0].name
    _rewrite(path, "000007.png", None)
    with pytest.raises(BenchError, match=r"has no Isaac3D_down128/images/000007\.png"):
        case.dataset.load(tmp_path)


def _rewrite(path, ending, change):
    """Change (or with None drop) the member that ends so."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if not name.endswith(ending):
                archive.writestr(name, content)
            elif change is not None:
                before = path.with_name("labels.tmp.npy")
                before.write_bytes(content)
                np.save(before, change(np.load(before)))
                archive.writestr(name, before.read_bytes())
                before.unlink()


def test_cars_are_numbered_by_the_list(tmp_path):
    case = MAKERS["cars3d"](tmp_path)
    dataset = case.dataset.load(tmp_path)
    np.testing.assert_array_equal(dataset.images(np.arange(5)), case.images[:5])  # five cars, one view
    assert not list(tmp_path.parent.glob("**/outside.txt"))


def test_a_repeated_view_is_refused(tmp_path):
    case = smallnorb(tmp_path)
    names = [file.name for file in case.dataset.card.files]
    for k in (3, 4, 5):  # the second half is the first once more
        (tmp_path / names[k]).write_bytes((tmp_path / names[k - 3]).read_bytes())
    files = tuple(dataclasses.replace(file, size=None, sha256="") for file in case.dataset.card.files)
    case.dataset.card = dataclasses.replace(case.dataset.card, files=files)
    with pytest.raises(BenchError, match="names the same view twice"):
        case.dataset.load(tmp_path)


def test_dsprites_in_another_order_is_refused(tmp_path):
    case = MAKERS["dsprites"](tmp_path)
    with h5py.File(tmp_path / case.dataset.card.files[0].name, "r+") as file:
        file["latents/classes"][:] = file["latents/classes"][:][::-1]
    files = (dataclasses.replace(case.dataset.card.files[0], size=None, sha256=""),)
    case.dataset.card = dataclasses.replace(case.dataset.card, files=files)
    with pytest.raises(BenchError, match="image 0 has the latents"):
        case.dataset.load(tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_file_cut_short_is_one_line(case, cut):
    path = case.dataset.paths(case.folder)[0]
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    files = tuple(dataclasses.replace(file, size=None, sha256="", md5="") for file in case.dataset.card.files)
    case.dataset.card = dataclasses.replace(case.dataset.card, files=files)
    if hasattr(case.dataset, "npz"):
        case.dataset.npz = dataclasses.replace(case.dataset.npz, md5="")
    if cut == -1 and path.suffix == ".h5":
        pytest.skip("HDF5 may not miss its last byte")
    with pytest.raises(BenchError) as error:
        case.dataset.load(case.folder)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert case.dataset.prepared(case.folder) is None


def test_a_prepared_array_that_has_changed_is_found_by_verify(case):
    case.dataset.load(case.folder)
    target = case.dataset.array_path(case.folder)
    if not target.exists():
        pytest.skip("mapped in place: the official file's own checks find it")
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)
    with pytest.raises(BenchError, match=r"(SHA-256 .* it was prepared with|describes); delete"):
        case.dataset.verify(case.folder)


def test_a_sparse_file_of_zeros_is_not_taken_for_the_prepared_array(case):
    case.dataset.load(case.folder)
    target = case.dataset.array_path(case.folder)
    if not target.exists():
        pytest.skip("mapped in place: the official file's own checks find it")
    size, header = target.stat().st_size, target.read_bytes()[:128]
    with target.open("wb") as file:
        file.write(header)
        file.truncate(size)
    assert not np.load(target, mmap_mode="r").any()
    with pytest.raises(BenchError, match=r"is not what .* describes; delete it and it is prepared again"):
        case.dataset.load(case.folder)


def test_nothing_there_to_verify_is_one_line(case, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="needs the file"):
        case.dataset.verify(tmp_path / "empty")


def test_a_prepared_folder_that_cannot_be_written_serves(case, monkeypatch):
    case.dataset.load(case.folder)
    for path in case.folder.glob("*.lock"):
        path.unlink()
    case.folder.chmod(0o555)
    before = sorted(p.name for p in case.folder.iterdir())
    # Root may write anywhere, so a lock that is taken all the same is a failure too.
    monkeypatch.setattr(
        "disentangle_bench.data.official.locked", lambda target: pytest.fail("wrote to a shared folder")
    )
    try:
        np.testing.assert_array_equal(case.dataset.load(case.folder).images([3]), case.images[[3]])
        assert sorted(p.name for p in case.folder.iterdir()) == before
    finally:
        case.folder.chmod(0o755)


def test_too_little_room_is_one_line(tmp_path, monkeypatch):
    case = MAKERS["shapes3d"](tmp_path)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(BenchError, match=r"takes 207 kB and .* has 1 kB left"):
        case.dataset.load(tmp_path)


def test_the_cards_name_the_filter_of_the_published_results():
    """Also docs/datasets: bicubic where the papers on the dataset used it, and version 2 since then."""
    cards = {name: DATASETS.load(name).card for name in OFFICIAL}
    filters = {name: card.resized.rpartition(", ")[2] for name, card in cards.items() if card.resized}
    lanczos, bicubic = "Pillow's Lanczos filter", "Pillow's bicubic filter"
    assert filters == {"isaac3d": bicubic, "falcor3d": bicubic, "cars3d": lanczos, "smallnorb": lanczos}
    assert {name for name, card in cards.items() if card.version == 2} == {"isaac3d", "falcor3d"}
