"""dbench new, check and info, metrics of one's own in dbench run, and a new user's path from start to report."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main


@pytest.fixture
def command(tmp_path, monkeypatch):
    """``command("check", "x.py")``: exit status and output of the command, run in this process in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


@pytest.mark.parametrize("kind", ["model", "metric", "dataset"])
def test_a_template_passes_its_check(command, tmp_path, kind):
    status, output = command("new", kind, "my_thing")
    assert status == 0
    assert "Next: dbench check my_thing.py" in output
    source = (tmp_path / "my_thing.py").read_text()
    assert "$" not in source
    status, output = command("check", "my_thing.py")
    assert status == 0, output
    assert output.splitlines()[-1] == "every point holds"
    assert "  ok  " in output
    # It is never overwritten.
    status, output = command("new", kind, "my_thing")
    assert status == 2
    assert "is there already" in output
    assert (tmp_path / "my_thing.py").read_text() == source


def test_names_and_kinds_of_new_are_checked(command):
    assert "unknown kind of plug-in 'modle'. Did you mean 'model'" in command("new", "modle", "x")[1]
    assert "is no name for Python" in command("new", "model", "../x")[1]


BROKEN = {
    "a plain module": (("class MyThing(db.Model)", "class MyThing(torch.nn.Module)"), "has no model, metric, dataset"),
    "no version": (("    version = 1\n", ""), "has no 'version'"),
    "a tensor as losses": (
        (
            'return {"autoencoder": error + self.config.sparsity * size}, {self.reconstruction: error, "size": size}',
            "return error",
        ),
        "losses returns a Tensor, not two mappings",
    ),
    "a wrong shape": (
        ("return self.images(self.decoder(codes.values))", "return self.decoder(codes.values)[:, :2]"),
        "decode gives",
    ),
    "a global generator": (("size = codes.abs().mean()", "size = torch.rand(())"), "uses a global random generator"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_of_a_model_is_one_clear_line(command, tmp_path, name):
    (old, new), message = BROKEN[name]
    command("new", "model", "my_thing")
    path = tmp_path / "my_thing.py"
    source = path.read_text()
    assert old in source
    path.write_text(
        source.replace(old, new).replace("import disentangle_bench", "import torch\nimport disentangle_bench")
    )
    status, output = command("check", "my_thing.py")
    assert status in (1, 2)
    assert "Traceback" not in output
    assert len([line for line in output.splitlines() if message in line]) >= 1, output


def test_names_can_be_checked(command):
    status, output = command("check", "mig")
    assert (status, output.splitlines()[0]) == (0, "metric mig")
    status, output = command("check", "nonsense")
    assert status == 2
    assert "unknown model, metric, dataset, file or package 'nonsense'" in output


def test_info_has_versions_and_folders(command, monkeypatch, tmp_path):
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path / "data"))
    status, output = command("info")
    assert status == 0
    for word in ("disentangle-bench", "torch", "cpu", str(tmp_path / "data"), "DBENCH_DATA"):
        assert word in output


@pytest.mark.thorough
def test_metrics_that_were_asked_for_are_in_the_table(command, tmp_path):
    command("new", "metric", "mine")
    arguments = ["run", "--models", "ae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1", "--jobs", "1"]
    arguments += ["--set", "training.updates=2", "--set", "scoring.train_images=100", "--set", "scoring.test_images=40"]
    status, output = command(*arguments, "--metrics", "sap,mine.py")
    assert status == 0, output
    assert "sap" in output
    assert "mine" in output
    assert "infomec" not in output.partition("rooms3d, smoke")[2]
    before = (tmp_path / "results" / "results.csv").read_text()
    assert "mine.score" in before
    status, output = command("score", "results", "--metrics", "modularity", "--jobs", "1")
    assert status == 0, output
    assert "modularity" in output
    status, output = command(*arguments, "--metrics", "nonsense")
    assert status == 2
    assert "unknown metric 'nonsense'" in output


@pytest.mark.slow
def test_a_new_users_path(tmp_path):
    """Four commands from nothing to a report with one's own model in it, and no other file is touched."""

    def dbench(*arguments):
        command = [sys.executable, "-m", "disentangle_bench", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    dbench("new", "model", "x")
    dbench("check", "x.py")
    options = ("--models", "all,x.py", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1")
    assert "7 finished" in dbench("run", *options)
    assert "X" in dbench("report", "--no-figures")
    assert {path.name for path in tmp_path.iterdir()} == {"x.py", "results"}
