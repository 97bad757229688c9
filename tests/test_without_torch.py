"""Scores and reports where PyTorch is not installed, and one clear line where it is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from support.invoke import in_process, one_line

ROOT = Path(__file__).parent.parent
NEEDS_TORCH = "Error: this needs PyTorch, which is not installed here: pip install torch safetensors\n"

SCRIPT = """
import json, sys
from click.testing import CliRunner

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from disentangle_bench.cli import main

for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, words)
    print(json.dumps([result.exit_code, result.stdout, result.stderr, repr(result.exception)]))

import disentangle_bench as db
for attempt in (lambda: db.Model, lambda: db.load("results")["qlae", 0].model()):
    try:
        attempt()
    except db.BenchError as error:
        print(json.dumps(str(error)))
"""
"""Runs commands, then Python, in an interpreter in which nothing can import torch."""

WORK = [
    ["info"],
    ["list", "models"],
    ["list", "protocols"],
    ["data", "list"],
    ["status", "results"],
    ["score", "codes.npz", "--metrics", "mig,mse"],
    ["import", "codes.npz", "--model", "mine", "--dataset", "cars3d", "--metrics", "mig", "--out", "imported"],
    ["report", "results", "--no-figures"],
]
REFUSED = [
    ["run", "--models", "qlae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1", "--out", "runs"],
    ["plan", "--models", "qlae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1"],
    ["show", "qlae", "rooms3d"],
    ["check", "mig"],
    ["check", "model.py"],
    ["select", "results", "--by", "mse"],
    ["reproduce", "results"],
    ["worker", "x"],
]


@pytest.fixture
def folder(tmp_path):
    """A folder with codes, a model and results."""
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (200, 3))
    np.savez(tmp_path / "codes.npz", codes=factors + 0.1 * rng.standard_normal((200, 3)), factors=factors)
    (tmp_path / "model.py").write_text("import torch\n")
    shutil.copytree(ROOT / "results" / "shipped" / "rooms3d-quick", tmp_path / "results")
    return tmp_path


def test_commands_without_torch(folder):
    script_command = [sys.executable, "-c", SCRIPT, json.dumps([*WORK, *REFUSED])]
    result = subprocess.run(script_command, capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    for command, (status, _, errors, exception) in zip(WORK, lines, strict=False):
        assert status == 0, (command, errors, exception)
    for command, (status, output, errors, _) in zip(REFUSED, lines[len(WORK) :], strict=False):
        assert (status, output, errors) == (2, "", NEEDS_TORCH), command
    assert lines[len(WORK) + len(REFUSED) :] == [NEEDS_TORCH.removeprefix("Error: ").strip()] * 2
    assert "PyTorch is not installed" in lines[0][1]
    assert not (folder / "runs").exists()
    assert (folder / "results" / "leaderboard.md").exists()


def test_another_module_that_is_missing_is_not_taken_for_torch(tmp_path):
    (tmp_path / "model.py").write_text("import torch_that_nobody_has\n")
    result = in_process(["run", "--models", "model.py", *REFUSED[0][3:]], {}, tmp_path)
    assert "No module named 'torch_that_nobody_has'" in one_line(result)


@pytest.mark.parametrize("installed", [{"disentangle-bench"}, {"disentangle-bench-light"}], ids=min)
def test_one_distribution_is_enough(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "distributions", lambda name: iter({name} & installed))
    assert in_process(["list", "models"], {}, tmp_path).returncode == 0


def test_both_distributions_at_once_are_refused(tmp_path, monkeypatch):
    """pip lets one overwrite the files of the other, and removes them with either."""
    monkeypatch.setattr(metadata, "distributions", lambda name: iter([name]))
    assert "pip uninstall both" in one_line(in_process(["list", "models"], {}, tmp_path))
