"""plan, worker and trackers, through the real command; test_choices.py has status, merge and rm."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from disentangle_bench import __version__
from disentangle_bench.store import claims, runs
from support.grid_runs import RUN, contents
from support.invoke import one_line

WORDS = RUN[3:]


@pytest.fixture
def part(smoke_grid, tmp_path):
    """``part("qlae", "beta_vae", out="a")``: a results folder with finished runs of these models only."""

    def make(*models, out="results"):
        folder = tmp_path / out
        (folder / "runs").mkdir(parents=True)
        for path in (smoke_grid[0] / "runs").iterdir():
            if path.name.split("-")[2] in models:
                shutil.copytree(path, folder / "runs" / path.name)
        return folder

    return make


def edit(folder, change):
    """Change the record of the only run in ``folder``."""
    (path,) = folder.glob("runs/*/record.json")
    content = json.loads(path.read_text())
    change(content)
    runs.write_record(path.parent, content)
    return path.parent.name


def test_a_record_of_an_older_version_is_kept_and_shown(dbench, part):
    out = part("qlae")
    edit(out, lambda content: content["package"].update(version="0.0.1"))
    before = contents(out)
    assert "made by version 0.0.1" in dbench("status", out).stdout
    assert "0 finished, 1 skipped" in dbench(*WORDS, "--models", "qlae", "--out", out).stdout
    assert contents(out) == before
    assert __version__ != "0.0.1"


@pytest.mark.slow
def test_plan_as_json_and_as_a_table(dbench):
    options = ["--datasets", "rooms3d", "--protocol", "cpu", "--seeds", "3"]
    result = dbench("plan", *options, "--models", "beta_vae,qlae", "--json", "--jobs", "2", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert [(row["model"], row["runs"]) for row in plan["runs"]] == [("beta_vae", 3), ("qlae", 3)]
    seconds = sum(row["runs"] * (row["training_seconds"] + row["scoring_seconds"]) for row in plan["runs"])
    assert plan["hours"] == pytest.approx(seconds / 2 / 3600)
    for row in plan["runs"]:
        assert row["training_seconds"] > 10
        assert row["disk"] > 3_000_000  # 768,000 weights of four bytes
    table = dbench("plan", *options, "--protocol", "smoke", "--models", "qlae", "--jobs", "2").stdout
    assert "rooms3d qlae" in table
    assert "2 at a time" in table


def test_days_of_work_on_a_cpu_want_a_yes(dbench, tmp_path):
    options = ["--models", "beta_vae", "--datasets", "rooms3d", "--protocol", "smoke", "--device", "cpu"]
    result = dbench("run", *options, "--set", "training.updates=1000000000", "--seeds", "1", "--out", "out")
    assert result.returncode == 2, result.stderr
    assert "give --yes to do it all the same" in result.stderr
    assert "--protocol cpu" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_worker_does_one_run_of_a_kept_grid(dbench, smoke_grid, tmp_path):
    plan = dbench("plan", *WORDS[1:], "--models", "qlae,vq_vae", "--keep", "--out", "out")
    names = plan.stdout.splitlines()
    result = dbench("worker", names[0], "--out", "out")
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "out")[names[0]] == contents(smoke_grid[0])[names[0]]
    assert "1 done, 0 running, 0 failed, 0 stopped, 1 missing" in dbench("status", "out").stdout
    with claims.claimed(tmp_path / "out" / "runs" / names[1]):
        assert dbench("worker", names[1], "--out", "out").returncode == 75
    assert "unknown run 'nonsense'" in one_line(dbench("worker", "nonsense", "--out", "out"))
    assert "there is no kept grid in 'nowhere'" in one_line(dbench("worker", "nonsense", "--out", "nowhere"))


def test_worker_says_that_a_run_failed(dbench):
    options = ["--models", "qlae", "--set", "training.learning_rate=1e30", "--keep", "--out", "out"]
    plan = dbench("plan", *WORDS[1:], *options)
    result = dbench("worker", plan.stdout.split()[-1], "--out", "out")
    assert result.returncode == 1
    assert "Diverged" in result.stderr


def test_tracking_without_its_package_is_one_line(dbench, tmp_path):
    try:
        import wandb  # noqa: F401
    except ImportError:
        message = one_line(dbench(*WORDS, "--models", "qlae", "--wandb", "--out", "out"))
        assert "pip install '.[wandb]'" in message
        assert not (tmp_path / "out").exists()
    else:
        pytest.skip("wandb is installed here")


@pytest.mark.slow
def test_tensorboard_gets_the_history(dbench, smoke_grid, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = dbench(*WORDS, "--models", "qlae", "--tensorboard", "--out", "out")
    assert result.returncode == 0, result.stderr
    (folder,) = tmp_path.glob("out/runs/*/tensorboard")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    assert [event.step for event in events.Scalars("mse")] == list(range(1, 21))
    (run_id,) = contents(tmp_path / "out")
    assert contents(tmp_path / "out")[run_id] == contents(smoke_grid[0])[run_id]


STUDY = """
import json, sys, time
from pathlib import Path
from disentangle_bench.store import status
from disentangle_bench.config.grids import expand
from disentangle_bench.runner.run import select
from disentangle_bench.runner.environment import peak_memory
out = Path(sys.argv[1])
began = time.perf_counter()
# Locatello et al. 2019: 6 models x 6 settings x 7 datasets x 50 seeds.
specs = expand("all", "rooms3d,shapes3d,dsprites,cars3d,smallnorb,mpi3d_toy,mpi3d_real", "50", "standard",
               ["training.learning_rate=1e-3,1e-4,1e-5,2e-5,3e-5,4e-5"])
assert len({spec.run_id for spec in specs}) == 12600
expanded = time.perf_counter()
assert len(select(specs, out, "missing")) == 12600
status.remember(out, specs)
planned = time.perf_counter()
counts = sum(state.state == "missing" for state in status.states(out))
assert counts == 12600, counts
ended = time.perf_counter()
memory = peak_memory() / 2**20
print(json.dumps([expanded - began, planned - expanded, ended - planned, memory]))
"""


@pytest.mark.timing
def test_a_study_of_12600_runs(tmp_path):
    """Expanding, planning and status in under ten seconds and 500 MB."""
    result = subprocess.run([sys.executable, "-c", STUDY, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    expand, remember, status, memory = json.loads(result.stdout)
    print(f"expand {expand:.1f} s, remember {remember:.1f} s, status {status:.1f} s, {memory:.0f} MB")
    assert expand + remember + status < 20  # half as fast a machine as the one that was measured
    assert memory < 500
