"""The command: what it prints, and that bad input ends in one clear line, status 2 and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from disentangle_bench.api.listings import list_protocols
from disentangle_bench.cli import main, options
from disentangle_bench.config.protocols import protocol
from disentangle_bench.registry import MODELS
from disentangle_bench.runner import run as runner
from disentangle_bench.scoring import selection
from disentangle_bench.spec import Training, Tuning
from support.invoke import one_line

RUN = ("run", "--models", "beta_vae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1")


def changed(**options):
    arguments = list(RUN)
    for key, value in options.items():
        arguments[arguments.index(f"--{key}") + 1] = value
    return arguments


BAD_INPUT = {
    "model": (changed(models="beta_vea"), "unknown model 'beta_vea'. Did you mean 'beta_vae'?"),
    "one of several models": (changed(models="qlae,factor_vqvae"), "Did you mean 'factor_qvae'?"),
    "no model": (changed(models=","), "no model was named"),
    "dataset": (changed(datasets="room3d"), "unknown dataset 'room3d'. Did you mean 'rooms3d'?"),
    "protocol": (changed(protocol="smoek"), "unknown protocol 'smoek'. Did you mean 'smoke'?"),
    "seeds, letters": (changed(seeds="five"), "--seeds 'five' is not understood"),
    "seeds, backwards": (changed(seeds="4-0"), "--seeds '4-0' is not understood"),
    "seeds, none": (changed(seeds="0"), "--seeds '0' is not understood"),
    "seeds, negative": (changed(seeds="-1"), "--seeds '-1' is not understood"),
    "setting": ((*RUN, "--set", "model.kl_wieght=1"), "Did you mean 'model.kl_weight'?"),
    "no updates": ((*RUN, "--set", "training.updates=0"), "training.updates = 0 is not allowed"),
    "setting's value": ((*RUN, "--set", "training.updates=many"), "training.updates = 'many' is not allowed"),
    "setting out of range": ((*RUN, "--set", "model.kl_weight=-1"), "kl_weight = -1 is not allowed"),
    "setting without a value": ((*RUN, "--set", "training.updates"), "--set takes key=value"),
    "network": ((*RUN, "--set", "training.network=conv46"), "unknown network 'conv46'. Did you mean 'conv64'?"),
    "variant": ((*RUN, "--set", "scoring.metrics.dci=locatello"), "unknown variant of dci 'locatello'"),
    "device": ((*RUN, "--device", "cuda:99"), "--device 'cuda:99' cannot be used here"),
    "device's name": ((*RUN, "--device", "gpu"), "--device 'gpu' is not known"),
    "report of a missing folder": (("report", "nowhere"), "there is no results folder 'nowhere'"),
    "show an unknown model": (("show", "beta", "rooms3d"), "unknown model 'beta'"),
    "executor": ((*RUN, "--executor", "locla"), "unknown executor 'locla'. Did you mean 'local'?"),
    "rerun": ((*RUN, "--rerun", "mising"), "unknown value of --rerun 'mising'. Did you mean 'missing'?"),
    "precision": ((*RUN, "--precision", "fp16"), "unknown precision 'fp16'"),
    "command": (("rnu",), "unknown command 'rnu'. Did you mean 'run'?"),
    "option": ((*RUN, "--outt", "x"), "No such option"),
    "option missing": (("run", "--datasets", "rooms3d"), "Missing option '--models'"),
    "jobs": ((*RUN, "--jobs", "-1"), "'--jobs'"),
}


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """``refused("list", "nonsense")``: the one line with which the command ends, run in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert result.stderr.startswith("Error: ")
        return result.stderr

    return run


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input(refused, tmp_path, name):
    arguments, message = BAD_INPUT[name]
    assert message in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_of_the_real_command(dbench, tmp_path):
    arguments, message = BAD_INPUT["model"]
    assert message in one_line(dbench(*arguments, process=True))
    assert list(tmp_path.iterdir()) == []


def test_report_of_an_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "'empty' is not a results folder" in refused("report", "empty")
    assert list((tmp_path / "empty").iterdir()) == []


def test_report_of_a_foreign_folder(refused, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("my thesis")
    assert "'foreign' is not a results folder" in refused("report", "foreign")
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]


def test_report_of_a_damaged_record(refused, tmp_path):
    run = tmp_path / "results" / "runs" / "some-run"
    run.mkdir(parents=True)
    (run / "record.json").write_text('{"schema": 1, "run')
    assert "record.json" in refused("report", "results")


def test_report_with_an_unknown_metric(refused, smoke_grid):
    out, _ = smoke_grid
    assert "unknown metric 'dcl'. Did you mean 'dci'?" in refused("report", out, "--metrics", "dcl")


def test_out_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    assert "--out 'taken/results' cannot be written" in refused(*RUN, "--out", "taken/results")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_out_without_permission(refused, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written" in refused(*RUN, "--out", locked / "results")


def test_a_missing_dataset_file(refused, tmp_path, monkeypatch):
    """The error says where to get it, where to put it, and what needs none."""
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DBENCH_OFFLINE", "1")
    message = refused(*changed(datasets="shapes3d"), "--out", "results")
    for part in ("3dshapes.h5", "storage.googleapis.com/3d-shapes", str(tmp_path / "data"), "rooms3d"):
        assert part in message
    assert not (tmp_path / "results").exists()


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """``printed("list", "models")``: what the command prints, run in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_dry_run_prints_the_grid_and_writes_nothing(printed, tmp_path):
    arguments = ("run", "--models", "all", "--datasets", "rooms3d,shapes3d", "--seeds", "0-1", "--dry-run")
    *lines, counts = printed(*arguments).splitlines()
    assert len(lines) == 6 * 2 * 2
    assert all(line.startswith("to do") and "-standard-" in line for line in lines)
    assert counts == "24 to do, 0 skipped"
    assert list(tmp_path.iterdir()) == []


def test_list_names_everything(printed):
    models = printed("list", "models")
    for name in ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"):
        assert name in models
    assert "rooms3d" in printed("list", "datasets")
    assert "infomec" in printed("list", "metrics")
    for name in ("smoke", "quick", "cpu", "standard"):
        assert name in printed("list", "protocols")


def test_list_names_the_families_of_protocols(printed):
    rows = [line.split() for line in printed("list", "protocols").splitlines() if "-correlated-" in line]
    assert [row[0] for row in rows] == ["cpu-correlated-SET", "standard-correlated-SET"]
    for family, *columns in rows:
        sets = [word.strip(",") for word in columns if "_" in word]
        assert len(sets) == 13
        for name in sets:
            assert protocol(family.replace("SET", name)).data.correlation == name
    assert [row[0] for row in rows] == list(list_protocols())[-2:]


def test_groups_of_models():
    paper = ["beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"]
    assert MODELS.names("all") == MODELS.names("paper") == paper
    assert MODELS.names("every") == MODELS.names("paper,extended")
    assert len(MODELS.names("every")) == 18


def test_help_names_the_values_that_the_code_takes(printed):
    """The values are spelled out for speed: they are those of the modules that use them."""
    assert options.RERUNS == runner.RERUN
    assert tuple(selection.CRITERIA) == options.CRITERIA
    assert Tuning.model_fields["sampler"].annotation.__args__ == options.SAMPLERS
    assert Training.model_fields["precision"].annotation.__args__ == options.PRECISIONS
    output = printed("run", "--help")
    sections = [output.index(title) for title in ("What to run:", "Where and how:", "Results and resuming:")]
    assert sections == sorted(sections)
    for values in ("--executor [local|slurm|ray]", "--rerun [missing|failed|all]", "--precision [fp32|tf32|bf16]"):
        assert values in output


def test_every_command_and_option_has_help():
    def walk(command, path):
        assert command.help, path
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, (path, parameter.name)
        for name, sub in getattr(command, "commands", {}).items():
            walk(sub, f"{path} {name}")

    walk(main, "dbench")


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error():
    """``dbench show ... | head``: the pipe is closed before the command writes."""
    command = [sys.executable, "-m", "disentangle_bench", "show", "qlae", "rooms3d"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(timeout=60)


def test_run_and_score_write_what_their_help_says(dbench, smoke_grid, tmp_path):
    out = shutil.copytree(smoke_grid[0], tmp_path / "copy")
    assert {path.name for path in out.iterdir()} == {"runs", "grids", "results.csv"}
    assert dbench("score", out, "--metrics", "mse", "--jobs", "1").returncode == 0
    assert {path.name for path in out.iterdir()} == {"runs", "grids", "results.csv"}


def test_show_says_where_each_value_comes_from(printed):
    lines = printed("show", "factor_qvae", "rooms3d", "--protocol", "cpu", "--set", "model.gamma=0.5").splitlines()
    rows = {line.split(" = ")[0].strip(): line.split(" = ")[1] for line in lines}
    assert rows["model.gamma"].startswith("0.5 ")
    assert rows["model.gamma"].endswith("# --set")
    assert "baselines/factor_qvae.toml [settings]: transferred" in rows["model.symbols"]
    assert rows["training.updates"].endswith("# protocol cpu, version 2")


def test_the_command_ends_with_the_leaderboard_and_what_is_next(smoke_grid):
    out, output = smoke_grid
    for name in ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"):
        assert name in output
    assert "6 finished, 0 skipped, 0 failed" in output
    assert f"dbench report {out}" in output


def test_finished_runs_are_skipped(dbench, smoke_grid, tmp_path):
    out = shutil.copytree(smoke_grid[0], tmp_path / "copy")
    records = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/record.json")}
    result = dbench(*changed(models="all"), "--out", out)
    assert "0 finished, 6 skipped, 0 failed" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/record.json")} == records


@pytest.mark.thorough
def test_a_plugin_model_runs_like_ours_and_a_failing_one_stops_nobody(dbench, tmp_path, plugin):
    source = """
import torch
from disentangle_bench.models.beta_vae import BetaVAE
from disentangle_bench.models.model import Model

class Plugin(Model):
    version = 3
    capturable = False
    Config = BetaVAE.Config
    encode, decode = BetaVAE.encode, BetaVAE.decode

    def __init__(self, config, *, image_shape, n_train, network):
        super().__init__()
        self.config = config
        self.encoder = network.encoder(image_shape, 2 * config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x, step, noise):
        losses, logs = BetaVAE.losses(self, x, step, noise)
        if step == 5:
            losses = {"autoencoder": losses["autoencoder"] * float("nan")}
        return losses, logs
"""
    env = plugin("sick_vae", source)
    assert "sick_vae" in dbench("list", "models", env=env).stdout
    arguments = changed(models="sick_vae,qlae")
    result = dbench(*arguments, "--out", "results", env=env)
    assert result.returncode == 1, result.stderr
    assert "1 finished, 0 skipped, 1 failed" in result.stdout
    assert "Diverged: loss.autoencoder" in result.stderr
    assert "not finite at update 6 of 20" in result.stderr
    (failed,) = (tmp_path / "results" / "runs").glob("*sick_vae*/failed.json")
    content = json.loads(failed.read_text())
    assert "Traceback" in content["traceback"]
    assert "--models sick_vae" in content["command"]
    assert not (failed.parent / "record.json").exists()
    # The failed run is tried again and the finished one is not.
    second_result = dbench(*arguments, "--out", "results", env=env)
    assert "0 finished, 1 skipped, 1 failed" in second_result.stdout


@pytest.mark.thorough
def test_a_broken_plugin_is_named(dbench, plugin):
    env = plugin("broken", "import nothing_of_that_name\n")
    assert "'broken' (broken_plugin:Plugin) cannot be imported" in one_line(dbench(*changed(models="broken"), env=env))
    assert dbench(*changed(models="beta_vae"), "--dry-run", env=env).returncode == 0


@pytest.mark.slow
def test_set_marks_a_record_as_off_protocol(dbench, tmp_path):
    result = dbench(*RUN, "--set", "training.updates=3", "--set", "model.kl_weight=1e-4", "--out", "results")
    assert result.returncode == 0, result.stderr
    (record,) = (tmp_path / "results" / "runs").glob("*/record.json")
    content = json.loads(record.read_text())
    assert content["spec"]["changed"] == ["training.updates=3"]  # kl_weight was 1e-4 already
    assert content["ranked"] is False
    assert "True" in (tmp_path / "results" / "results.csv").read_text()
