"""Runs survive what machines do to them: killed at any moment, a full disk, a folder that goes away, a wrong clock."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from disentangle_bench.store import runs
from support.commands import kill_all, until
from support.grid_runs import RUN, contents

OFTEN = ("--checkpoint-seconds", "0")  # after every update, so that kills fall between files, too


def begun(command, out, pids):
    """Wait until the command works on a run with a process that is not in ``seen``; None if it ends before."""
    deadline = time.monotonic() + 120
    while command.poll() is None:
        assert time.monotonic() < deadline, "no run has begun"
        for path in out.glob("runs/*/progress.json"):
            with contextlib.suppress(OSError, ValueError):
                beat = json.loads(path.read_text())
                if beat["pid"] not in pids:
                    return beat
        time.sleep(0.01)
    return None


@pytest.mark.slow
def test_killed_while_it_works(tmp_path, smoke_grid):
    """Kills of the whole process group: weights, history, codes and scores are those undisturbed."""
    expected = contents(smoke_grid[0])
    out = tmp_path / "parts"
    command = [*RUN, "--models", "factor_qvae", "--jobs", "1", *OFTEN, "--out", str(out)]
    moments = random.Random(0)
    pids = set()
    for _ in range(4):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        beat = begun(process, out, pids)
        if beat is None:
            break
        time.sleep(moments.uniform(0, 1.0))
        kill_all(process, out)
        pids.add(beat["pid"])
    assert len(pids) >= 2
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    (run_id,) = (name for name in expected if "factor_qvae" in name)
    assert contents(out) == {run_id: expected[run_id]}
    assert not list(out.glob("runs/*/failed.json"))


ONE = [*RUN, "--models", "qlae", "--jobs", "1"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, smoke_grid):
    """A file system of 3 MB takes the run's beginning and not its weights; with room, the same command ends it."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        command = [*ONE, "--out", str(small / "out")]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert result.returncode == 1, result.stderr
        assert "No space left on device" in result.stderr
        assert "the disk is full: make room" in result.stderr
        assert "Traceback" not in result.stderr
        assert not list(small.glob("out/runs/*/record.json"))
        subprocess.run(["mount", "-o", "remount,size=100m", small], check=True)
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        (run_id,) = contents(small / "out")
        assert contents(small / "out")[run_id] == contents(smoke_grid[0])[run_id]
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_read_only_folder_is_one_line(tmp_path, dbench):
    """As a file system mounted read-only, which stops root as well."""
    folder = tmp_path / "fixed"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a read-only file system cannot be mounted here (needs root)")
    try:
        result = dbench(*ONE[3:], "--out", folder / "out")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "cannot be written (Read-only file system)" in result.stderr


@pytest.mark.thorough
def test_a_folder_deleted_in_mid_run(tmp_path, smoke_grid):
    """The run goes on in memory and its record comes out whole: nothing else was lost with the folder."""
    out = tmp_path / "out"
    command = subprocess.Popen(
        [*ONE, "--set", "training.updates=60", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: list(out.glob("runs/*/progress.json")), "the run's beginning")
    shutil.rmtree(out)
    output, errors = command.communicate(timeout=120)
    assert "Traceback" not in errors
    assert command.returncode == 0, errors
    assert "1 finished" in output
    (record,) = runs.load_records(out)
    assert {"record.json", "history.csv", "codes.npz", "model.safetensors"} <= {p.name for p in record.folder.iterdir()}


@pytest.mark.thorough
def test_a_clock_that_was_set_back(tmp_path, smoke_grid, dbench):
    """Files from the future: an interrupted run goes on, and is not taken for running."""
    out = tmp_path / "out"
    command = subprocess.Popen(
        [*ONE, "--set", "training.updates=20", "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: list(out.glob("runs/*/progress.json")), "the run's beginning")
    kill_all(command, out)
    future = time.time() + 3 * 86400
    for path in [*out.rglob("*"), out]:
        os.utime(path, (future, future))
    assert "0 running" in dbench("status", out).stdout
    result = subprocess.run([*ONE, "--out", str(out)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (run_id,) = contents(out)
    assert contents(out)[run_id] == contents(smoke_grid[0])[run_id]
