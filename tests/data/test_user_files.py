"""Files of a user's that are odd, damaged or hostile: one line with the file, the key and what to do."""

import io
import logging
import os
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from disentangle_bench.cli import main
from disentangle_bench.config.grids import expand
from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.custom import custom_class
from disentangle_bench.data.dsprites_rendered import DSpritesRendered
from disentangle_bench.data.files import data_folder
from disentangle_bench.data.rooms3d import Rooms3D
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS
from disentangle_bench.store import runs
from disentangle_bench.testing import check_dataset

N, SIZES = 24, np.array([3, 2, 4])
IMAGES = np.random.default_rng(0).integers(256, size=(N, 16, 16, 3), dtype=np.uint8)


def npz(path, **arrays):
    np.savez(path, **({"images": IMAGES, "factor_sizes": SIZES} | arrays))


def promising(path, shape, key="images", method=zipfile.ZIP_STORED):
    """An .npz of which ``key`` has a header that promises ``shape`` and no content."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    arrays = {"images": IMAGES, "factor_sizes": SIZES}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array)
            member = header.getvalue() if name == key else content.getvalue()
            archive.writestr(f"{name}.npy", member, compress_type=method)


def patched(path, offset, value):
    """An .npz with ``value`` in the directory entry of the first member."""
    npz(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + offset : start + offset + len(value)] = value
    path.write_bytes(content)


def hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for key, value in ({"images": IMAGES, "factor_sizes": SIZES} | datasets).items():
            if value is not None:
                file[key] = value
    return path


def external(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(IMAGES.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("images", IMAGES.shape, "u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        file["factor_sizes"] = SIZES


def virtual(path):
    hdf5(path.with_suffix(".hdf5"))
    layout = h5py.VirtualLayout(IMAGES.shape, "u1")
    layout[:] = h5py.VirtualSource(path.with_suffix(".hdf5"), "images", shape=IMAGES.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("images", layout)
        file["factor_sizes"] = SIZES


def sparse(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**10, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
        file["factor_sizes"] = [10**10]


def group(path, key):
    hdf5(path, **{key: None}).touch()
    with h5py.File(path, "a") as file:
        file.create_group(key)["x"] = 1


FAULTS = {
    "structured factors": ("a.npz", lambda p: npz(p, factors=np.zeros(N, [("a", "f8")])), "factors has the type"),
    "objects": ("a.npz", lambda p: npz(p, factor_names=np.array([{}], object)), "factor_names has the type object"),
    "complex factors": ("a.npz", lambda p: npz(p, factors=np.ones((N, 2), complex)), "factors has the type complex"),
    "sizes NaN": ("a.npz", lambda p: npz(p, factor_sizes=np.array([np.nan, 2])), r"factor_sizes \[nan, 2.0\]"),
    "sizes of text": ("a.npz", lambda p: npz(p, factor_sizes=np.array(["3", "8"])), "factor_sizes"),
    "sizes 2-D": ("a.npz", lambda p: npz(p, factor_sizes=SIZES[None]), r"factor_sizes \[\[3, 2, 4\]\]"),
    "sizes broken": ("a.npz", lambda p: npz(p, factor_sizes=np.array([2.5, 9.6])), "factor_sizes"),
    "sizes that overflow": ("a.npz", lambda p: npz(p, factor_sizes=np.array([2**32, 2**32, 24])), "factor_sizes"),
    "218 TiB": ("a.npz", lambda p: promising(p, (19 * 10**9, 64, 64, 3)), "images promises .* does not hold"),
    "728 TiB of sizes": ("a.npz", lambda p: promising(p, (8 * 10**14,), "factor_sizes"), "factor_sizes promises"),
    "a dimension below zero": ("a.npz", lambda p: promising(p, (-1, 16, 16, 3)), "a.npz"),
    "an unknown compression": ("a.npz", lambda p: patched(p, 10, struct.pack("<H", 99)), "images is compressed"),
    "an LZMA member": ("a.npz", lambda p: promising(p, (1, 4, 4, 3), method=zipfile.ZIP_LZMA), "is compressed"),
    "a size that lies": ("a.npz", lambda p: patched(p, 24, struct.pack("<I", 2**31)), "images promises"),
    "an encrypted member": ("a.npz", lambda p: patched(p, 8, struct.pack("<H", 1)), "a.npz cannot be read"),
    "no images": ("a.npz", lambda p: npz(p, images=IMAGES[:0], factor_sizes=np.array([0])), "none at all"),
    "Fortran order": ("a.npz", lambda p: npz(p, images=np.asfortranarray(IMAGES)), "images in Fortran order"),
    "channels first": (
        "a.npz", lambda p: npz(p, images=np.zeros((N, 3, 16, 16), np.uint8)), r"channels first\? .*transpose"
    ),
    "two channels": ("a.npz", lambda p: npz(p, images=IMAGES[..., :2]), "2 channels, and 1, 3 or 4"),
    "a Git LFS pointer": ("a.npz", lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1"), "lfs pull"),
    "a web page": ("a.h5", lambda p: p.write_bytes(b"<!DOCTYPE html><html></html>"), "web page"),
    "nothing": ("a.npz", lambda p: p.touch(), "a.npz cannot be read"),
    "a folder": ("a.npz", lambda p: p.mkdir(), "is not a file"),
    "a FIFO": ("a.npz", os.mkfifo, "is not a file"),
    "a group named images": ("a.h5", lambda p: group(p, "images"), "images is a group or a link"),
    "a group named factors": ("a.h5", lambda p: group(p, "factors"), "factors is a group or a link"),
    "a soft link": ("a.h5", lambda p: hdf5(p, factors=h5py.SoftLink("/images")), "factors is a group or a link"),
    "a link to a file": ("a.h5", lambda p: hdf5(p, images=h5py.ExternalLink("/x.h5", "/y")), "images is a group or"),
    "external storage": ("a.h5", lambda p: external(p, p.parent), "images lies in other files"),
    "a virtual dataset": ("a.h5", virtual, "images lies in other files"),
    "a sparse dataset": ("a.h5", sparse, "images promises .* does not hold"),
    "an empty table": ("a.csv", lambda p: p.write_text(""), "has no rows"),
    "a ragged table": ("a.csv", lambda p: p.write_text("file,x\na.png,1\nb.png\n"), "1 cells in row 3"),
    "a picture elsewhere": ("a.csv", lambda p: p.write_text("file,x\n../../etc/passwd,1\n"), "outside its folder"),
    "a picture that is absent": ("a.csv", lambda p: p.write_text("file,x\nb.png,1\n"), "b.png cannot be read"),
    "an option that does not exist": ("a.npz?resise=64", npz, r"option 'resise=64'\. Allowed: resize=8\.\.1024"),
    "an option out of range": ("a.npz?resize=9999", npz, r"option 'resize=9999'\. Allowed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_an_odd_file_is_one_line(tmp_path, name):
    file, write, message = FAULTS[name]
    path = tmp_path / file
    write(tmp_path / file.partition("?")[0])
    with pytest.raises(BenchError, match=message) as error:
        custom_class(str(path))
    assert str(error.value).isprintable()
    assert file.partition("?")[0] in str(error.value)
    result = CliRunner().invoke(main, ["data", "info", str(path), "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_bytes_0_and_1_are_not_trained_as_black(tmp_path):
    path = tmp_path / "a.npz"
    npz(path, images=(IMAGES > 128).astype(np.uint8))
    with pytest.raises(BenchError, match=r"only bytes 0 and 1.*scale=255 \(scale=1 leaves"):
        custom_class(str(path)).load(tmp_path / "data")
    index = np.arange(N)
    white = custom_class(f"{path}?scale=255").load(tmp_path / "data")
    np.testing.assert_array_equal(white.images(index), (IMAGES > 128) * np.uint8(255))
    black = custom_class(f"{path}?scale=1").load(tmp_path / "data")
    np.testing.assert_array_equal(black.images(index), IMAGES > 128)


def test_continuous_factors_are_noticed_and_can_be_binned(tmp_path, caplog):
    noise = np.random.default_rng(1).uniform(-1e-9, 1e-9, N)
    factors = np.stack([np.linspace(0, 1, N), np.arange(N) % 3 + noise, np.arange(N) % 2], axis=1)
    path = tmp_path / "a.npz"
    npz(path, factors=factors)
    with caplog.at_level(logging.WARNING):
        assert custom_class(str(path)).card.factor_sizes == (24, 24, 2)
    assert [record.getMessage().count("?bins=10") for record in caplog.records] == [1, 1]
    caplog.clear()
    dataset = custom_class(f"{path}?bins=3").load(tmp_path)
    assert caplog.records == []
    assert dataset.card.factor_sizes == (3, 3, 2)
    np.testing.assert_allclose(dataset.card.factor_values[0], [1 / 6, 1 / 2, 5 / 6])
    np.testing.assert_array_equal(dataset.factors(np.arange(N))[:, 1], np.arange(N) % 3)
    np.testing.assert_array_equal(dataset.factors(np.arange(N))[:, 0], np.arange(N) // 8)
    check_dataset(dataset)


def test_images_can_be_resized(tmp_path):
    path = tmp_path / "a.npz"
    npz(path)
    dataset = custom_class(f"{path}?resize=32").load(tmp_path / "data")
    assert dataset.card.image_shape == (3, 32, 32)
    assert dataset.card.resized == "16 x 16 to 32 x 32"
    expected = np.asarray(Image.fromarray(IMAGES[5]).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(dataset.images([5])[0], expected)
    assert dataset.card.version != custom_class(str(path)).card.version
    check_dataset(dataset)


def test_pictures_with_a_table_of_factors(tmp_path):
    rows = ["file,shape,size"]
    (tmp_path / "pictures").mkdir()
    for k in range(6):
        Image.fromarray(IMAGES[k]).save(tmp_path / "pictures" / f"{k}.png")
        rows.append(f"pictures/{k}.png,{['round', 'square'][k % 2]},{k // 2 / 2}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    dataset = DATASETS.load(str(tmp_path / "t.csv")).load(tmp_path / "data")
    assert dataset.card.factor_names == ("shape", "size")
    assert dataset.card.factor_values == (("round", "square"), (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(dataset.images(np.arange(6)), IMAGES[:6])
    np.testing.assert_array_equal(dataset.factors([0, 3, 5]), [[0, 0], [1, 1], [1, 2]])
    check_dataset(dataset)
    version = dataset.card.version
    Image.fromarray(IMAGES[7]).save(tmp_path / "pictures" / "5.png")
    (tmp_path / "t.csv").touch()
    assert custom_class(str(tmp_path / "t.csv")).card.version != version
    Image.fromarray(IMAGES[7][:8]).save(tmp_path / "pictures" / "5.png")
    os.utime(tmp_path / "t.csv", (1, 1))
    with pytest.raises(BenchError, match=r"a picture has the shape \(8, 16, 3\)"):
        custom_class(str(tmp_path / "t.csv")).load(tmp_path / "data")


def test_pictures_of_16_bits_keep_the_upper_8(tmp_path):
    ramp = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(ramp).save(tmp_path / "0.png")
    Image.fromarray(ramp.T).save(tmp_path / "1.tif")
    (tmp_path / "t.csv").write_text("file\n0.png\n1.tif\n")
    images = custom_class(str(tmp_path / "t.csv")).load(tmp_path / "data").images([0, 1])
    np.testing.assert_array_equal(images[..., 0], [ramp // 257, ramp.T // 257])
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "1.tif")
    os.utime(tmp_path / "t.csv", (1, 1))
    with pytest.raises(BenchError, match=r"1\.tif has 32 bits per pixel; save it with 8 or 16"):
        custom_class(str(tmp_path / "t.csv")).load(tmp_path / "data")


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "t.csv"])
def test_images_without_factors_are_opened_with_a_warning(tmp_path, caplog, name):
    if name == "t.csv":
        for k in range(3):
            Image.fromarray(IMAGES[k]).save(tmp_path / f"{k}.png")
        (tmp_path / "t.csv").write_text("file\n0.png\n1.png\n2.png\n")
    elif name == "a.npz":
        np.savez(tmp_path / name, images=IMAGES)
    else:
        hdf5(tmp_path / name, factor_sizes=None)
    dataset = custom_class(str(tmp_path / name)).load(tmp_path / "data")
    assert dataset.factors([0, 2]).shape == (2, 0)
    assert dataset.card.factor_names == ()
    assert "has no factors" in caplog.text
    check_dataset(dataset)


@pytest.mark.slow
def test_images_without_factors_are_trained_and_scored_by_what_needs_none(dbench, tmp_path):
    """The record names the metrics that are left out, and everything that reads it works."""
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).integers(256, size=(60, 64, 64, 1), dtype=np.uint8))
    arguments = ["--datasets", "a.npz", "--models", "qlae", "--protocol", "smoke", "--seeds", 1, "--jobs", 0]
    result = dbench("run", *arguments, "--out", "out", "--data-dir", "data")
    assert result.returncode == 0, result.stderr
    (record,) = runs.load_records(tmp_path / "out")
    assert {row["metric"] for row in record.scores} == {"mse", "latents"}
    assert record.content["notes"]["dci"] == {"dci": "left out: the dataset has no factors"}
    assert record.spec.settings["latents"] == 10
    for arguments in (
        ["report", "out", "--html", "page.html", "--no-figures"],
        ["score", "out"],
        ["data", "show", "a.npz"],
    ):
        result = dbench(*arguments)
        assert result.returncode == 0, result.stderr
    assert "no factors" in dbench("data", "info", "a.npz").stdout
    assert {row["metric"] for row in runs.load_records(tmp_path / "out")[0].scores} == {"mse", "latents"}


def test_four_spellings_of_a_path_are_one_dataset(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    npz(tmp_path / "sub" / "a.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [
        "sub/a.npz",
        "./sub/a.npz",
        "link/a.npz",
        "~/sub/a.npz",
        "sub/../sub/a.npz",
        str(tmp_path / "sub/a.npz"),
    ]
    assert DATASETS.names(",".join(spellings)) == [str((tmp_path / "sub/a.npz").resolve())]
    assert len({resolve("ae", name, "smoke", 0).spec.run_id for name in spellings}) == 1


def test_the_folder_of_a_file_is_no_part_of_its_identity(tmp_path):
    specs = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        npz(tmp_path / folder / "a.npz")
        specs.append(resolve("ae", str(tmp_path / folder / "a.npz"), "smoke", 0).spec)
    assert specs[0].dataset != specs[1].dataset
    assert specs[0].run_id == specs[1].run_id
    npz(tmp_path / "two" / "b.npz")
    assert resolve("ae", str(tmp_path / "two" / "b.npz"), "smoke", 0).spec.digest != specs[0].digest


def test_a_comma_in_a_path_is_quoted(tmp_path):
    npz(tmp_path / "a,b.npz")
    path = str(tmp_path / "a,b.npz")
    assert DATASETS.names(f'"{path}", rooms3d') == [path, "rooms3d"]


@pytest.mark.parametrize("names", ['"', "a\nb", '"x', ",,", '""', "\0"])
def test_odd_lists_of_names_are_one_line(names):
    with pytest.raises(BenchError):
        DATASETS.names(names)


UNUSABLE = {
    "28 x 28": ((60, 28, 28, 1), r"multiples of 16, not 28 x 28 pixels; write .*a\.npz\?resize=64"),
    "one image": ((1, 16, 16, 1), "has 1 images: 0 to train on"),
    "ten images": ((10, 16, 16, 1), "10 images: 8 to train on, and to score on 0 that fit and 1 that test"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_images_that_cannot_be_used_are_found_when_a_grid_is_expanded(tmp_path, name):
    shape, message = UNUSABLE[name]
    path = tmp_path / "a.npz"
    np.savez(path, images=np.full(shape, 200, np.uint8), factor_sizes=np.array(shape[:1]))
    with pytest.raises(BenchError, match=message):
        expand("ae", str(path), "1", "smoke")
    if name == "28 x 28":
        expand("ae", f"{path}?resize=64", "1", "smoke")


def test_suffixes_may_be_in_capitals(tmp_path):
    npz(tmp_path / "a.npz")
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    assert len(DATASETS.load(str(tmp_path / "A.NPZ")).load(tmp_path)) == N


@pytest.mark.parametrize("folder", ["/proc", "/proc/nothing", "/dev/null/x"])
def test_drawn_datasets_need_no_data_folder(folder, monkeypatch):
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc")
    monkeypatch.setenv("DBENCH_DATA", folder)
    if folder == "/dev/null/x":
        with pytest.raises(BenchError, match="cannot be used"):
            data_folder()
        return
    monkeypatch.setattr("disentangle_bench.data.rooms3d._draw", lambda: np.zeros((480, 4, 64, 64), np.uint8))
    assert len(Rooms3D.load(data_folder())) == 480_000
    assert len(DSpritesRendered.load(data_folder())) == 737_280
    with pytest.raises(BenchError, match="cannot be written"):
        DATASETS.load("shapes3d").prepare(data_folder())


COMMANDS = {
    "data add with two names": (["add", "shapes3d,dsprites", "x"], "one dataset"),
    "data show with a seed below 0": (["show", "dsprites_rendered", "--seed", "-1"], "--seed"),
    "nobody's folder": (["list", "--data-dir", "~nobody-is-called-so/x"], "user who does not exist"),
    "nobody's file": (["info", "~nobody-is-called-so/x.npz"], "user who does not exist"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_odd_commands_are_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path))
    arguments, message = COMMANDS[name]
    result = CliRunner().invoke(main, ["data", *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
