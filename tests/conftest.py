"""Shared by all tests: one thread per process, because pytest-xdist runs several processes on few cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from filelock import FileLock

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
def smoke_grid(tmp_path_factory, worker_id):
    """A results folder with a finished smoke run of every model, and what the real command printed making it.

    Two runs at a time; made once and shared by pytest-xdist's processes: do not write into it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "smoke"
    words = ["run", "--models", "all", "--datasets", "rooms3d", "--seeds", "1", "--protocol", "smoke", "--jobs", "2"]
    out, printed = shared / "results", shared / "printed.txt"
    with FileLock(f"{shared}.lock"):
        if not printed.exists():
            command = [sys.executable, "-m", "disentangle_bench", *words, "--out", str(out)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return out, printed.read_text()


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
