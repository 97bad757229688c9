"""Whatever lies in a results folder, a command ends with status 0, 1 or 2 and no traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main
from disentangle_bench.store import claims
from support import records

FILES = ("record.json", "failed.json", "spec.json", "progress.json", "history.csv", "matrices.npz", "pictures.npz")
ODD = [None, True, -1, 2**70, 10**400, 1.5, "", "\x1b[31m\nx", "=1", "\ud800", [], [[]], {}, {"a": []}, [1] * 9]


@pytest.fixture
def out(tmp_path):
    """Results folder with two good runs and one that failed, in which odd things are planted."""
    for seed in range(2):
        folder = records.write_run(tmp_path / "out", records.spec("qlae", seed))
        records.write_history(folder, "qlae", seed)
        records.write_matrices(folder, seed)
    failed = records.write_failure(tmp_path / "out", records.spec("vq_vae"), "Diverged")
    (failed / "spec.json").write_text(json.dumps({"schema": 1, "spec": records.spec("vq_vae").model_dump(mode="json")}))
    return tmp_path / "out"


def ends_well(*arguments):
    result = CliRunner().invoke(main, list(map(str, arguments)), color=True)
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exc_info)
    assert result.exit_code in (0, 1, 2), (arguments, result.output)
    assert "\x1b" not in result.output
    assert "Traceback" not in result.output
    return result


def all_end_well(out, run_folder, name):
    """Every command that reads the file; ``rm`` last: it must be able to remove what is odd."""
    ends_well("status", out, "--all")
    if name.endswith((".npz", ".csv")):
        ends_well("report", out, "--no-figures", "--format", "md", "--html", out / "x.html")
    elif name in ("record.json", "failed.json"):
        ends_well("report", out, "--no-figures", "--format", "md")
    ends_well("merge", out, "--out", out.parent / "merged")
    shutil.rmtree(out.parent / "merged", ignore_errors=True)
    assert ends_well("rm", out, run_folder.name, "--yes").exit_code == 0
    assert not os.path.lexists(run_folder)


def mutations(original, rng):
    """Yield ways to damage a file: cut, flipped bits, other values in JSON."""
    data = original.encode() if isinstance(original, str) else original
    yield data[: len(data) // 2]
    flipped = bytearray(data)
    flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    yield bytes(flipped)
    try:
        content = json.loads(data)
    except ValueError:
        return
    yield b'{"schema": 1}'
    for _ in range(2):
        other = json.loads(data)
        inner, key = other, rng.choice(list(content))
        while isinstance(inner[key], dict) and inner[key] and rng.random() < 0.8:
            inner, key = inner[key], rng.choice(list(inner[key]))
        inner[key] = rng.choice(ODD)
        yield json.dumps(other).encode()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(out, name):
    rng = random.Random(name)
    run_folder = records.write_run(out, records.spec("ae", 0))
    records.write_history(run_folder, "ae", 0)
    records.write_matrices(run_folder)
    if name == "pictures.npz":
        records.write_pictures(run_folder, latents=2, m=2, steps=2, side=16)
    if name in ("failed.json", "spec.json", "progress.json"):
        (run_folder / "record.json").unlink()
        source = next(out.glob(f"runs/*/{name}"), None)
        content = source.read_bytes() if source else b'{"schema": 1, "phase": "x", "done": 1, "total": 2}'
        (run_folder / name).write_bytes(content)
    content = (run_folder / name).read_bytes()
    backup = shutil.copytree(run_folder, out.parent / "kept")
    for damaged in mutations(content, rng):
        (run_folder / name).write_bytes(damaged)
        all_end_well(out, run_folder, name)
        shutil.copytree(backup, run_folder)


def fifo(path):
    os.mkfifo(path)


def folder(path):
    path.mkdir()


def circle(path):
    path.symlink_to(path.name)


def endless(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("plant", [fifo, folder, circle, endless])
@pytest.mark.parametrize("name", [*FILES, claims.LOCK])
def test_something_else_in_place_of_a_file(out, name, plant):
    run_folder = out / "runs" / "odd"
    run_folder.mkdir()
    plant(run_folder / name)
    if name == claims.LOCK and plant is folder:
        ends_well("status", out)
    else:
        all_end_well(out, run_folder, name)


@pytest.mark.parametrize("path", ["runs/file", "grids/x.json", "runs/odd/record.json", "results.csv"])
def test_odd_names_and_texts(out, path):
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_text("\x1b[31m=1\x00")
    (out / "runs" / "a\x1b[2Jb").mkdir()
    (out / "runs" / "a\x1b[2Jb" / "record.json").write_text("{")
    for arguments in (["status", out], ["report", out, "--no-figures"], ["merge", out, "--out", out.parent / "m"]):
        ends_well(*arguments)
    assert Path(out / "runs" / "a\x1b[2Jb").exists()
    ends_well("rm", out, "a\x1b[2Jb", "--yes")
