"""Scores of all runs of a folder: one run's fault is not the others', and no file of the current folder is executed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from disentangle_bench.scoring.score import score_results
from disentangle_bench.store import runs
from support import records
from support.commands import until


def test_damaged_runs_are_named_and_the_others_are_scored(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    names = []
    for seed in range(3):
        folder = records.write_run(tmp_path, records.spec("qlae", seed))
        factors = rng.integers(0, 3, (90, 2))
        np.savez(folder / "codes.npz", codes=factors + 0.1 * rng.normal(size=factors.shape), factors=factors)
        names.append(folder.name)
    (tmp_path / "runs" / names[0] / "codes.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "runs" / names[1] / "matrices.npz").write_bytes(b"PK\x03\x04")
    for module in ("multiprocessing", "signal", "pickle", "pandas"):
        (tmp_path / f"{module}.py").write_text("import os; os._exit(3)")
    monkeypatch.chdir(tmp_path)
    progress_calls = []
    scored_records, failed = score_results(
        tmp_path, "mig", [], jobs=2, progress=lambda done, total: progress_calls.append((done, total))
    )
    assert sorted(failed) == sorted(names[:2])
    assert "codes.npz" in failed[names[0]]
    assert names[1] in failed[names[1]]
    assert progress_calls == [(1, 3), (2, 3), (3, 3)]
    scored_names = {record.folder.name for record in scored_records for row in record.scores if row["metric"] == "mig"}
    assert scored_names == {names[2]}
    assert runs.read_records(tmp_path).problems == {}


@pytest.mark.slow
def test_ctrl_c_in_the_command_ends_it_with_all_its_processes(tmp_path):
    """Status 130 and one line, long before the last run; scores that are there are whole."""
    rng = np.random.default_rng(0)
    for seed in range(300):
        folder = records.write_run(tmp_path, records.spec("qlae", seed))
        factors = rng.integers(0, 9, (1500, 6))
        np.savez(folder / "codes.npz", codes=factors + 0.1 * rng.normal(size=factors.shape), factors=factors)
    command = [sys.executable, "-m", "disentangle_bench", "score", str(tmp_path), "--metrics", "mig", "--jobs", "2"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr.readline() == "[1/300] runs scored\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output == ""
    *lines, last = errors.splitlines()
    assert last == "interrupted: give the same command again to resume"
    assert len(lines) < 250
    assert all(line.endswith("runs scored") for line in lines)
    until(lambda: not group_lives(process.pid), "the end of the command's processes", 30)
    result = runs.read_records(tmp_path)
    assert (len(result.records), result.problems) == (300, {})
    assert not list(tmp_path.rglob("*.tmp*"))


def group_lives(number):
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
