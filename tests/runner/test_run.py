"""Whole runs: records, repeatability to the bit, interruption."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main
from disentangle_bench.cli.run import _print_endings
from disentangle_bench.config.grids import expand
from disentangle_bench.config.protocols import protocol
from disentangle_bench.registry import MODELS
from disentangle_bench.runner import attempt
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import run_grid
from disentangle_bench.scoring.files import load_evaluation
from disentangle_bench.scoring.score import score
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import runs
from disentangle_bench.store.merge import merge
from support.commands import kill_all
from support.grid_runs import RUN, contents


@pytest.mark.slow
def test_other_processes_and_jobs_give_the_same_bits(smoke_grid, tmp_path):
    """The real command, two runs at a time, instead of one after another in this process; in another folder."""
    command = [*RUN, "--models", "qlae,factor_qvae", "--jobs", "2", "--out", str(tmp_path / "again")]
    subprocess.run(command, check=True, capture_output=True)
    first, second = contents(smoke_grid[0]), contents(tmp_path / "again")
    assert len(first) == 6
    assert len(second) == 2
    assert second.items() <= first.items()


@pytest.mark.slow
def test_runs_in_this_process_give_the_same_bits(smoke_grid, tmp_path):
    """``jobs=0``: nothing is started, so that a debugger stops at a breakpoint in a model."""
    resources = Resources(jobs=0, devices="cpu")
    outcome = run_grid(expand("qlae", "rooms3d", "1", "smoke", []), tmp_path / "out", resources)
    (run_id,) = outcome.finished
    assert contents(tmp_path / "out")[run_id] == contents(smoke_grid[0])[run_id]
    content = json.loads((tmp_path / "out" / "runs" / run_id / "record.json").read_text())
    assert content["environment"]["threads"] == 1


def test_each_record_is_read_once_per_command(smoke_grid, tmp_path):
    shutil.copytree(smoke_grid[0], tmp_path / "out")
    opened = Counter()
    sys.addaudithook(lambda event, arguments: event == "open" and opened.update([os.path.basename(str(arguments[0]))]))
    result = CliRunner().invoke(main, [*RUN[3:], "--models", "all", "--jobs", "0", "--out", str(tmp_path / "out")])
    assert "0 finished, 6 skipped" in result.output
    assert opened["record.json"] == 6


def test_a_run_folder_has_all_that_is_needed(smoke_grid):
    out, _ = smoke_grid
    for folder in (out / "runs").iterdir():
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "spec.json", "run.lock", "record.json", "history.csv", "model.safetensors",
            "codes.npz", "matrices.npz", "pictures.npz",
        }  # fmt: skip


@pytest.mark.parametrize("model", MODELS.names("all"))
def test_records_say_what_was_done(smoke_grid, model):
    out, _ = smoke_grid
    (record,) = (record for record in runs.load_records(out) if record.spec.model == model)
    content = record.content
    spec = RunSpec.model_validate(content["spec"])
    assert content["digest"] == spec.digest
    assert content["run_id"] == spec.run_id == record.folder.name
    assert content["images"]["autoencoder"] == 20 * 16
    assert content["images"]["discriminator"] == (20 * 16 if model.startswith("factor") else 0)
    assert content["environment"]["threads"] == 1
    assert content["environment"]["device"] == "cpu"
    assert content["peak_memory"]["host"] > 50e6
    assert content["seconds"]["training"] > 0
    assert set(content["seconds"]["metrics"]) == set(spec.scoring.metrics)
    for row in record.scores:
        assert {"metric", "score", "value", "higher_is_better", "variant", "version", "paper"} <= set(row)
        assert row["variant"] == spec.scoring.metrics[row["metric"]]
    values = {f"{row['metric']}.{row['score']}": row["value"] for row in record.scores}
    assert {"dci.disentanglement", "dci.completeness", "dci.informativeness", "infomec.modularity"} <= set(values)
    assert values["mse.psnr"] == pytest.approx(-10 * np.log10(values["mse.mse"]))


@pytest.mark.slow
def test_scores_can_be_recomputed_from_the_stored_codes(smoke_grid):
    out, _ = smoke_grid
    for record in runs.load_records(out):
        evaluation = load_evaluation(record.folder / "codes.npz")
        assert len(evaluation.factors) == 600
        assert evaluation.n_train == 400
        scores = score(evaluation, record.spec.scoring.metrics)
        for row, old in zip(scores.rows, record.scores, strict=True):
            np.testing.assert_equal(row["value"], old["value"])
        with np.load(record.folder / "matrices.npz") as file:
            assert file["dci.importance"].shape == (12, 6)
            assert file["infomec.nmi"].shape == (6, 12)


def test_pictures(smoke_grid):
    out, _ = smoke_grid
    for record in runs.load_records(out):
        with np.load(record.folder / "pictures.npz") as file:
            assert file["originals"].shape == file["reconstructions"].shape == (8, 64, 64, 3)
            assert file["traversals"].shape == (12, 8, 64, 64, 3)
            assert all(file[name].dtype == np.uint8 for name in file.files)


def test_results_csv_is_tidy(smoke_grid):
    out, _ = smoke_grid
    table = pd.read_csv(out / "results.csv")
    assert not table.duplicated(["run_id", "score"]).any()
    assert set(table.model) == set(MODELS.names("all"))
    assert {"dataset", "protocol", "seed", "value", "variant", "metric_version", "off_protocol"} <= set(table.columns)


@pytest.mark.slow
def test_an_interrupted_command_goes_on_to_the_same_bits(tmp_path):
    """SIGINT while two runs are training: status 130, checkpoints, no traceback; the same command finishes them."""
    command = [*RUN, "--models", "qlae,factor_qvae", "--set", "training.updates=150", "--jobs", "2", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, str(tmp_path / "parts")], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    folders = tmp_path / "parts" / "runs"
    deadline = time.monotonic() + 120
    while len(list(folders.glob("*/progress.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its processes
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "give the same command again to resume" in errors
    assert not list(folders.glob("*/failed.json"))
    assert len(list(folders.glob("*/record.json"))) < 2
    result = subprocess.run([*command, str(tmp_path / "parts")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def run_process(command, name):
    """The process in which ``command`` trains the run whose folder matches ``name``; waits for it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in command.out.glob(f"runs/*{name}*/progress.json"):
            with contextlib.suppress(OSError, ValueError):
                return json.loads(path.read_text())["pid"]
        time.sleep(0.02)
    raise AssertionError(f"{name} did not start")


@pytest.fixture
def started(tmp_path):
    """Start the real command in the background: ``started("qlae", "--jobs", "1")``; ends it when the test ends."""
    commands = []

    def start(models, *options, out="out"):
        command = subprocess.Popen(
            [*RUN, "--models", models, *options, "--out", str(tmp_path / out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        command.out = tmp_path / out
        commands.append(command)
        return command

    yield start
    for command in commands:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate()


LONG = ("--set", "training.updates=200", "--jobs", "1")


@pytest.mark.thorough
def test_a_lost_process_is_replaced_once(started, smoke_grid):
    command = started("qlae", *LONG)
    os.kill(run_process(command, "qlae"), signal.SIGKILL)
    output, errors = command.communicate(timeout=120)
    assert command.returncode == 0, errors
    assert "qlae-seed0" in errors
    assert " retried" in errors
    assert "1 finished, 0 skipped, 0 failed" in output


@pytest.mark.thorough
def test_a_process_lost_twice_is_a_failure_and_stops_nobody(started):
    command = started("beta_vae,qlae", *LONG)
    first = run_process(command, "beta_vae")
    os.kill(first, signal.SIGKILL)
    while (second := run_process(command, "beta_vae")) == first:
        time.sleep(0.02)
    os.kill(second, signal.SIGKILL)
    output, errors = command.communicate(timeout=120)
    assert command.returncode == 1, errors
    assert "1 finished, 0 skipped, 1 failed" in output
    (failed,) = command.out.glob("runs/*beta_vae*/failed.json")
    content = json.loads(failed.read_text())
    assert "ended unexpectedly, 2 times: killed by SIGKILL" in content["error"]
    assert content["command"].startswith("dbench run --models beta_vae --datasets rooms3d")


@pytest.mark.slow
def test_two_commands_never_do_a_run_twice(started):
    """The second finds the run held and leaves it, naming the process; both end well."""
    first = started("qlae", *LONG)
    pid = run_process(first, "qlae")
    second = started("qlae", *LONG)
    output, errors = second.communicate(timeout=120)
    assert second.returncode == 75, errors
    assert "0 finished, 0 skipped, 0 failed" in output
    assert f"another process is running it (process {pid} on" in errors
    output, errors = first.communicate(timeout=120)
    assert "1 finished" in output, errors


@pytest.mark.slow
def test_a_killed_command_leaves_no_lock_behind(started):
    first = started("qlae", *LONG)
    run_process(first, "qlae")
    kill_all(first, first.out)
    second = started("qlae", *LONG)
    output, errors = second.communicate(timeout=120)
    assert "1 finished" in output, errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_command_soon_with_checkpoints(started, number):
    command = started("qlae", "--set", "training.updates=19000")
    run_process(command, "qlae")
    os.killpg(command.pid, number)  # SIGHUP comes from a terminal that is closed
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert list(command.out.glob("runs/*/checkpoint.pt"))
    assert not list(command.out.glob("runs/*/failed.json"))


@pytest.mark.slow
def test_a_run_whose_command_is_gone_writes_a_checkpoint_and_ends(started):
    """Only the command is killed: nobody listens to the run any more, and nobody else could stop it."""
    command = started("qlae", "--set", "training.updates=19000")
    pid = run_process(command, "qlae")
    command.kill()
    command.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the run is still going"
        time.sleep(0.05)
    assert list(command.out.glob("runs/*/checkpoint.pt"))
    assert not list(command.out.glob("runs/*/failed.json"))


@pytest.mark.slow
def test_rerun(dbench, tmp_path):
    arguments = [*RUN[3:], "--models", "qlae", "--out", "out"]
    assert "1 finished" in dbench(*arguments).stdout
    before = contents(tmp_path / "out")
    (record,) = tmp_path.glob("out/runs/*/record.json")
    modified_at = record.stat().st_mtime_ns
    assert "0 finished, 1 skipped" in dbench(*arguments).stdout
    assert "0 finished, 1 skipped" in dbench(*arguments, "--rerun", "failed").stdout
    assert record.stat().st_mtime_ns == modified_at
    assert "1 finished, 0 skipped" in dbench(*arguments, "--rerun", "all").stdout
    assert record.stat().st_mtime_ns > modified_at
    assert contents(tmp_path / "out") == before


def test_lists_of_values_make_a_grid(dbench):
    result = dbench(
        *RUN[3:], "--models", "qlae", "--set", "model.symbols=5,10,20", "--set", "training.updates=3,20", "--dry-run"
    )
    *lines, counts = result.stdout.splitlines()
    assert counts == "6 to do, 0 skipped"
    changes = {tuple(line.split()[3:]) for line in lines}
    assert len({line.split()[2] for line in lines}) == len(changes) == 6, result.stdout + result.stderr
    assert ("model.symbols=20", "training.updates=3") in changes


class Wild(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("error", [Wild("odd"), SystemExit(3)])
def test_whatever_a_run_raises_is_its_failure_alone(monkeypatch, tmp_path, error):
    """In a results folder whose name is not UTF-8; the next run of the grid is tried."""
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))

    def raising(*arguments):
        raise error

    monkeypatch.setattr(attempt, "_train", raising)
    specs = expand("ae", "rooms3d", "2", "smoke", [])
    outcome = run_grid(specs, out, Resources(jobs=0, devices="cpu", data=tmp_path / "data"))
    assert outcome.failed == {spec.run_id: f"{type(error).__name__}: {error}" for spec in specs}
    failed, _ = sorted(out.glob("runs/*/failed.json"))
    command = json.loads(failed.read_text())["command"]
    assert "/\\xff" in command
    assert f"--data-dir {tmp_path / 'data'}" in command


def test_the_command_of_a_failure_under_a_protocol_file_works_when_pasted(dbench, monkeypatch, tmp_path):
    """Also when the file has been deleted, and from a folder to which the run was merged."""
    table = protocol("smoke").model_copy(update={"name": "mine"}).model_dump(mode="json")
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    metrics = table["scoring"].pop("metrics")
    for name, part in {"training": table["training"], "scoring": table["scoring"], "scoring.metrics": metrics}.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in part.items())]
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    monkeypatch.setattr(attempt, "_train", lambda *arguments: 1 / 0)
    specs = expand("ae", "rooms3d", "1", str(tmp_path / "mine.toml"), [])
    run_grid(specs, tmp_path / "out", Resources(jobs=0, devices="cpu", data=tmp_path / "data"))
    (tmp_path / "mine.toml").unlink()
    (failed,) = tmp_path.glob("out/runs/*/failed.json")
    program, *arguments = shlex.split(json.loads(failed.read_text())["command"])
    assert program == "dbench"
    result = dbench(*arguments, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert specs[0].run_id in result.stdout
    merge([tmp_path / "out"], tmp_path / "merged")
    assert runs.command(specs[0], tmp_path / "merged").count(str(tmp_path / "merged" / "plugins")) == 1
    assert list((tmp_path / "merged" / "plugins").glob("mine@*.toml"))


def test_equal_reasons_are_one_line(capsys):
    _print_endings("failed", {f"run{i}": "no memory" for i in range(200)} | {"other": "no disk"})
    assert capsys.readouterr().err.splitlines() == ["failed: run0 and 199 more: no memory", "failed: other: no disk"]
