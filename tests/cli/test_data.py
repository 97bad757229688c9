"""The commands ``dbench data ...``, on small files in the official formats."""

import dataclasses
import logging
import subprocess
import sys
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from disentangle_bench import registry
from disentangle_bench.cli.data import data
from disentangle_bench.data.files import locked
from disentangle_bench.errors import BenchError
from disentangle_bench.runner import progress
from support.official_files import mpi3d, shapes3d, smallnorb


@pytest.fixture
def official(tmp_path):
    folder = tmp_path / "official"
    folder.mkdir()
    return folder


@pytest.fixture
def use(monkeypatch, server):
    """Let the registry give the class of a case, its files from the server."""

    def put(case):
        small = case.dataset
        for path in case.folder.iterdir():
            server.files[path.name] = path.read_bytes()
        files = tuple(dataclasses.replace(f, urls=(f"{server.url}/{f.name}",)) for f in small.card.files)
        small.card = dataclasses.replace(small.card, files=files)
        load = registry.DATASETS.load
        monkeypatch.setattr(registry.DATASETS, "load", lambda name: small if name == small.card.name else load(name))
        return case

    return put


@pytest.fixture
def dbench(tmp_path, monkeypatch):
    """Run ``dbench data``; errors for users come back as exceptions, as the group above prints them."""
    folder = tmp_path / "data"
    monkeypatch.setenv("DBENCH_DATA", str(folder))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, **options):
        result = CliRunner().invoke(data, list(map(str, arguments)), **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    run.folder = folder
    return run


def state(dbench, name):
    (line,) = [line for line in dbench("list").splitlines() if line.startswith(f"{name} ")]
    return line


def test_from_nothing_to_prepared_and_back(dbench, use, official, server):
    case = use(shapes3d(official))
    assert "not here" in state(dbench, "shapes3d")
    assert "needs no download" in state(dbench, "rooms3d")
    assert dbench("download", "shapes3d").splitlines()[-1] == str(dbench.folder / "3dshapes.h5")
    assert "downloaded" in state(dbench, "shapes3d")
    assert "shapes3d is ready in" in dbench("prepare", "shapes3d")
    assert "prepared" in state(dbench, "shapes3d")
    assert len(server.requests) == 1
    lines = dbench("verify", "shapes3d").splitlines()
    assert any(line == "3dshapes.h5 is the official file" for line in lines)
    assert any("is as it was prepared, SHA-256" in line for line in lines)
    assert set(dbench("path", "shapes3d").split()) == {
        str(dbench.folder / "3dshapes.h5"),
        str(dbench.folder / "shapes3d-v1.npy"),
    }
    np.testing.assert_array_equal(case.dataset.load(dbench.folder).images([7]), case.images[[7]])
    dbench("remove", "shapes3d", "--yes")
    assert list(dbench.folder.iterdir()) == []
    assert "not here" in state(dbench, "shapes3d")


def test_prepare_downloads(dbench, use, official, server):
    use(smallnorb(official))
    dbench("prepare", "smallnorb")
    assert len(server.requests) == 6
    assert "prepared" in state(dbench, "smallnorb")


def test_a_part_is_told(dbench, use, official):
    use(smallnorb(official))
    dbench.folder.mkdir()
    (dbench.folder / f"{smallnorb(official).dataset.card.files[0].name}.part").touch()
    assert "partly downloaded" in state(dbench, "smallnorb")


def test_a_damaged_array_is_told(dbench, use, official):
    use(shapes3d(official))
    dbench.folder.mkdir()
    (dbench.folder / "shapes3d-v1.npy").write_bytes(b"nonsense")
    assert "damaged" in state(dbench, "shapes3d")


@pytest.mark.parametrize("command", ["prepare", "download"])
@pytest.mark.parametrize("source", ["option", "variable"])
def test_offline_is_one_line(dbench, use, official, server, monkeypatch, command, source):
    use(shapes3d(official))
    if source == "variable":
        monkeypatch.setenv("DBENCH_OFFLINE", "1")
    with pytest.raises(BenchError, match=r"needs the file 3dshapes\.h5, which is not in") as error:
        dbench(command, "shapes3d", *(["--offline"] if source == "option" else []))
    message = str(error.value)
    assert "\n" not in message
    for part in ("dbench data download shapes3d", server.url, str(dbench.folder), "rooms3d"):
        assert part in message
    assert server.requests == []


def test_offline_prepares_what_is_there(dbench, use, official):
    use(shapes3d(official))
    dbench("download", "shapes3d")
    dbench("prepare", "shapes3d", "--offline")
    assert "prepared" in state(dbench, "shapes3d")


def test_a_file_is_added_and_not_copied(dbench, use, official, server):
    case = use(mpi3d(official))
    added = dbench("add", "mpi3d_toy", official / "mpi3d_toy.npz").strip().splitlines()[-1]
    assert (dbench.folder / "mpi3d_toy.npz").samefile(official / "mpi3d_toy.npz")
    assert added == str(dbench.folder / "mpi3d_toy.npz")
    dbench("prepare", "mpi3d_toy")
    assert server.requests == []
    assert not list(dbench.folder.glob("*.npy"))
    np.testing.assert_array_equal(case.dataset.load(dbench.folder).images([7]), case.images[[7]])
    dbench("remove", "mpi3d_toy", "--yes")
    assert (official / "mpi3d_toy.npz").exists()
    assert list(dbench.folder.iterdir()) == []


def test_remove_asks(dbench, use, official):
    use(shapes3d(official))
    dbench("download", "shapes3d")
    dbench("remove", "shapes3d", input="n\n")
    assert (dbench.folder / "3dshapes.h5").exists()
    dbench("remove", "shapes3d", input="y\n")
    assert not (dbench.folder / "3dshapes.h5").exists()
    assert "is not in" in dbench("remove", "shapes3d")


@pytest.mark.parametrize("command", ["download", "verify", "remove", "path"])
def test_a_drawn_dataset_has_nothing_to_do_this_with(dbench, command):
    with pytest.raises(BenchError, match="rooms3d has no official files"):
        dbench(command, "rooms3d")


def test_path_of_what_is_not_there(dbench):
    assert dbench("path").strip() == str(dbench.folder)
    with pytest.raises(BenchError, match="dbench data prepare shapes3d"):
        dbench("path", "shapes3d")


@pytest.mark.parametrize("name", registry.DATASETS.entries)
def test_info_says_what_the_card_does(dbench, name):
    card = registry.DATASETS.load(name).card
    output = dbench("info", name)
    for part in (card.summary, card.licence, card.citation, *card.factor_names, *card.notes, card.resized):
        assert part in output
    for file in card.files:
        for part in (file.name, file.sha256, file.md5, *file.urls):
            assert part in output


def test_info_of_a_users_file(dbench, tmp_path):
    np.savez(tmp_path / "mine.npz", images=np.zeros((6, 4, 4, 1), dtype=np.uint8), factor_sizes=[2, 3])
    assert "6 images from the file mine.npz" in dbench("info", "mine.npz")


@pytest.mark.parametrize("name", ["rooms3d", "dsprites_rendered"])
def test_show_draws_a_sheet(dbench, tmp_path, name):
    assert dbench("show", name).strip() == f"{name}.png"
    sheet = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    rows = len(registry.DATASETS.load(name).card.factor_names) + 2
    assert sheet.shape[1] == 130 + 15 * 68
    assert rows * 80 < sheet.shape[0] < rows * 160
    second_path = tmp_path / "again.png"
    dbench("show", name, "--out", second_path)
    assert second_path.read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    dbench("show", name, "--out", second_path, "--seed", 1)
    assert second_path.read_bytes() != (tmp_path / f"{name}.png").read_bytes()


def test_show_draws_a_list_of_images(dbench, tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(40, 2))
    np.savez(tmp_path / "mine.npz", images=rng.integers(256, size=(40, 16, 16), dtype=np.uint8), factors=factors)
    assert dbench("show", "mine.npz").strip() == "mine.png"
    assert (tmp_path / "mine.png").exists()


def test_show_in_a_format_that_is_none(dbench):
    with pytest.raises(BenchError, match=r"give a name that ends in \.png"):
        dbench("show", "dsprites_rendered", "--out", "sheet.nonsense")


def test_an_unknown_name(dbench):
    with pytest.raises(BenchError, match="Did you mean 'shapes3d'"):
        dbench("info", "shape3d")


def test_lines_tell_speed_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 20.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.downloads() as report:
        for megabytes in (0, 10, 200, 300):
            report("downloading x", megabytes * 10**6, 300 * 10**6)
    assert capsys.readouterr().err.splitlines() == [
        "downloading x: 0 kB of 300 MB",
        "downloading x: 200 MB of 300 MB, 10.0 MB/s, 10 s left",
        "downloading x: 300 MB of 300 MB, 10.0 MB/s",
    ]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from disentangle_bench.cli.data import data\n"
        "assert 'prepare' in CliRunner().invoke(data, ['--help']).output\n"
        "heavy = {'torch', 'h5py', 'pandas', 'numpy', 'requests', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", ["list", "info shapes3d", "path"])
def test_looking_needs_no_torch(command, tmp_path):
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from disentangle_bench.cli.data import data\n"
        f"result = CliRunner().invoke(data, {[*command.split(), '--data-dir', str(tmp_path)]!r})\n"
        "assert result.exit_code == 0, result.output\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_second_process_is_told_that_it_waits(tmp_path, caplog):
    code = (
        "import filelock, sys, time\n"
        "with filelock.FileLock(sys.argv[1]):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    threading.Timer(0.2, lambda: holder.communicate("go\n")).start()
    with caplog.at_level(logging.WARNING), locked(tmp_path / "x"):
        assert "another process is working on" in caplog.text
    assert holder.wait(10) == 0
