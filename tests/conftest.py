"""Shared by all tests: one thread per process, because pytest-xdist runs several processes on few cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture
def dbench(tmp_path):
    """Run the real command in a subprocess, in an empty folder: ``dbench("list", "models")``."""

    def run(*words, env=None, cwd=tmp_path, **options):
        return subprocess.run(
            [sys.executable, "-m", "disentangle_bench", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            **options,
        )

    return run


@pytest.fixture(scope="session")
def smoke_grid(tmp_path_factory):
    """A results folder with a finished smoke run of every model, two at a time, made by the real command."""
    out = tmp_path_factory.mktemp("smoke") / "results"
    words = ["run", "--models", "all", "--datasets", "rooms3d", "--seeds", "1", "--protocol", "smoke", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "disentangle_bench", *words, "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Path(out), done


@pytest.fixture
def plugin(tmp_path):
    """Install a plug-in model for subprocesses: ``plugin(name, source)`` gives the environment that has it."""

    def install(name, source, class_name="Plugin"):
        site = tmp_path / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}_plugin.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[disentangle_bench.models]\n{name} = {name}_plugin:{class_name}\n")
        return {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}

    return install
