"""Grids by other executors, next to the local one."""

from __future__ import annotations

import os

import pytest

from support.commands import LONG, Command
from support.grid_runs import contents
from support.local_slurm import LocalSlurm, missing


@pytest.fixture
def command(tmp_path):
    """``command("out", "--models", "qlae")`` is a command that has not been started; ends what it left running."""
    commands = []

    def make(out, *arguments, environment=None):
        commands.append(Command(tmp_path / out, arguments, environment or dict(os.environ)))
        return commands[-1]

    yield make
    for command in commands:
        if command.process and command.process.poll() is None:
            command.process.kill()
            command.process.communicate()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A real Slurm of this test process's own; a test that stops its controller starts it again."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[slurm]'")
    if missing():
        pytest.skip(missing())
    cluster = LocalSlurm(tmp_path_factory.mktemp("slurm", numbered=True) / "cluster")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What the grid ``LONG`` gives on this machine, by the local executor."""
    command = Command(tmp_path_factory.mktemp("undisturbed") / "here", LONG, dict(os.environ))
    command.complete(1)
    return contents(command.out)
