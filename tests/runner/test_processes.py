"""Processes that the package starts: what they may import, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from disentangle_bench.config.grids import expand
from disentangle_bench.processes import Process, environment
from disentangle_bench.runner.executors import local_server
from disentangle_bench.runner.executors.base import Work
from disentangle_bench.runner.resources import Resources
from disentangle_bench.spec import RunSpec

STOLEN = ("multiprocessing", "signal", "pickle", "pandas", "random", "numpy", "queue")


@pytest.fixture
def hostile(tmp_path):
    """A folder of files named as modules; each leaves a trace where it is imported."""
    for name in STOLEN:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r} + ' ')\n")
    return tmp_path


@pytest.mark.slow
def test_values_go_both_ways(monkeypatch, tmp_path):
    """The target is called in the folder of its parent, with the argument as it was given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    with Process("test_processes:echo", {"numbers": [1, 2.5, None]}) as process:
        assert list(process) == [{"numbers": [1, 2.5, None]}, str(tmp_path), "printed is not sent"]
        assert process.wait() == "exit status 0"
    with Process("test_processes:fail", 0) as process:
        assert list(process) == []
        assert process.wait() == "exit status 1"


def echo(argument, channel):
    print("this goes to standard error")
    channel.send(argument)
    channel.send(os.getcwd())
    channel.send("printed is not sent")


def fail(argument, channel):
    sys.exit(1)


@pytest.mark.thorough
def test_nothing_is_imported_from_the_current_folder(hostile):
    """The command, the process that it starts and the forks of that: none imports a file that lies there."""
    arguments = ["run", "--models", "ae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1", "--out", "."]
    result = subprocess.run(
        [sys.executable, "-m", "disentangle_bench", *arguments],
        cwd=hostile,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "1 finished" in result.stdout
    assert not (hostile / "imported").exists(), (hostile / "imported").read_text()


def test_an_entry_of_the_path_that_is_the_current_folder_is_left_out(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "here", "/there"]))
    assert environment()["PYTHONPATH"] == os.pathsep.join([str(tmp_path / "here"), "/there"])


UNGUARDED = """
from pathlib import Path
from disentangle_bench.config.grids import expand
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import run_grid
with open("began", "a") as file:
    file.write("once ")
outcome = run_grid(expand("ae", "rooms3d", "1", "smoke", []), Path("out"), Resources())
print(len(outcome.finished), len(outcome.records.records))
"""


@pytest.mark.slow
def test_an_unguarded_script_may_run_a_grid(tmp_path):
    """No ``if __name__ == "__main__"``: the script is run once, and the runs are done."""
    (tmp_path / "script.py").write_text(UNGUARDED)
    result = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.stdout.split() == ["1", "1"], result.stderr
    assert (tmp_path / "began").read_text() == "once "


def fake_child(inherited, connection, spec_json, out, resources_json, fresh):
    """Train for no time, then score for a moment; if there is a file ``all``, until all three runs have begun."""
    spec = RunSpec.model_validate_json(spec_json)
    (out / f"begun{spec.seed}").touch()
    connection.send((spec.run_id, "released"))
    deadline = time.monotonic() + (60 if (out / "all").exists() else 0.05)
    while len(list(out.glob("begun*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    connection.send((spec.run_id, "done"))


@pytest.mark.parametrize(
    ("device", "scorers", "overlap"), [("cuda:0", 8, True), ("cuda:0", 0, False), ("cpu", 8, False)]
)
def test_scoring_does_not_hold_an_accelerator(monkeypatch, tmp_path, device, scorers, overlap):
    """On one accelerator all three runs begin before the first ends, if there are cores to score on."""
    monkeypatch.setattr(local_server, "_child", fake_child)
    reader, writer = os.pipe()
    monkeypatch.setattr(local_server, "_command", lambda: reader)
    kinds = []
    channel = SimpleNamespace(send=lambda message: kinds.append(message[1][1]), close=lambda: None)
    if overlap:
        (tmp_path / "all").touch()
    work = Work(expand("ae", "rooms3d", "3", "smoke", []), tmp_path, Resources(), False)
    server = local_server._Server(work, [device], channel)
    server.scorers = scorers
    server.run()
    os.close(reader)
    os.close(writer)
    assert kinds == (["started"] * 3 + ["done"] * 3 if overlap else ["started", "done"] * 3)
