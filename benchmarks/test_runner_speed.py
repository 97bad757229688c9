"""What the runner costs, and what jobs gain.

    pytest benchmarks/test_runner_speed.py -s -o addopts=""

Run it on an otherwise idle machine with at least two cores: it compares whole commands.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from disentangle_bench.cores import available

RUN = [
    sys.executable,
    "-m",
    "disentangle_bench",
    "run",
    "--datasets",
    "rooms3d",
    "--device",
    "cpu",
    "--protocol",
    "smoke",
]


def seconds_of(words):
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


@pytest.mark.skipif(available() < 2, reason="needs two cores")
def test_two_jobs_against_one(tmp_path, capsys):
    """A smoke grid of 12 runs, long enough that the work and not the start of Python is compared."""
    grid = [*RUN, "--models", "all", "--seeds", "2", "--set", "training.updates=100"]
    one = seconds_of([*grid, "--jobs", "1", "--out", str(tmp_path / "one")])
    two = seconds_of([*grid, "--jobs", "2", "--out", str(tmp_path / "two")])
    with capsys.disabled():
        print(f"\n12 runs: {one:.1f} s with one job, {two:.1f} s with two: {one / two:.2f} times as fast")
    assert one / two >= 1.6


def test_overhead_of_the_runner(tmp_path, capsys):
    """All but training and scoring (start, claim, heartbeat, records, tables), against a run of the protocol cpu.

    Training is measured by the run itself, around the same loop with heartbeats and checkpoints; what a bare loop of
    updates takes is measured beside it.
    """
    out = tmp_path / "out"
    whole = seconds_of(
        [*RUN, "--models", "beta_vae", "--seeds", "1", "--set", "training.updates=200", "--out", str(out)]
    )
    (record,) = out.glob("runs/*/record.json")
    seconds = json.loads(record.read_text())["seconds"]
    inside = seconds["training"] + seconds["encoding"] + sum(seconds["metrics"].values())
    words = ["--models", "beta_vae", "--datasets", "rooms3d", "--protocol", "cpu", "--seeds", "1", "--device", "cpu"]
    plan = subprocess.run(
        [sys.executable, "-m", "disentangle_bench", "plan", *words, "--json"], capture_output=True, text=True
    )
    (row,) = json.loads(plan.stdout)["runs"]
    run = row["training_seconds"] + row["scoring_seconds"]
    with capsys.disabled():
        share = (whole - inside) / run
        print(f"\noverhead {whole - inside:.1f} s of a command, {100 * share:.2f} % of a cpu run of {run:.0f} s")
    assert whole - inside < 0.02 * run
