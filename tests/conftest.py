"""Shared by all tests: one thread per process, because pytest-xdist runs several processes on few cores."""

from __future__ import annotations

import os
import signal

import pytest
from filelock import FileLock

from support.invoke import in_process, in_subprocess

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Where a gate is started with nohup or in the background, SIGHUP and SIGINT are ignored, in all processes that tests
# start, too.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture
def dbench(tmp_path):
    """Run the command in an empty folder: ``dbench("list", "models")``; ``process=True`` starts a process for it.

    A command that needs another Python path, as for a plug-in, gets a process in any case.
    """

    def run(*arguments, env=None, cwd=tmp_path, process=False, input=None):
        env = env or {}
        invoke = in_subprocess if process or "PYTHONPATH" in env else in_process
        return invoke([str(argument) for argument in arguments], env, cwd, input)

    return run


@pytest.fixture(scope="session")
def smoke_grid(tmp_path_factory, worker_id):
    """A results folder with a finished smoke run of every model, and what the real command printed making it.

    Made once and shared by pytest-xdist's processes: do not write into it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "smoke"
    arguments = ["run", "--models", "all", "--datasets", "rooms3d", "--seeds", "1", "--protocol", "smoke"]
    out, output_file = shared / "results", shared / "printed.txt"
    with FileLock(f"{shared}.lock"):
        if not output_file.exists():
            shared.mkdir(exist_ok=True)
            result = in_process([*arguments, "--out", str(out)], {}, shared)
            assert result.returncode == 0, result.stderr
            output_file.write_text(result.stdout)
    return out, output_file.read_text()


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


@pytest.fixture
def server(monkeypatch):
    """A local server, short waits between attempts, and no proxies or prohibitions from outside."""
    from disentangle_bench.data import download
    from support.bad_server import serving

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "DBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(download, "LONGEST_WAIT_SECONDS", 0.05)
    with serving() as running:
        yield running
