"""Downloads and preparations in several processes, and in processes that are killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.data.download import fetch
from support.downloads import CONTENT, SHA256
from support.official_files import shapes3d

CHILD = """
import sys, pathlib, time
from disentangle_bench.data import download
from disentangle_bench.data.dataset import OfficialFile
url, folder, sha256 = sys.argv[1:]
sys.stdin.readline()
download.fetch(OfficialFile("some.bin", (url,), sha256=sha256), pathlib.Path(folder), "some")
"""


def start(server, folder, code=CHILD):
    command = [sys.executable, "-c", code, f"{server.url}/some.bin", str(folder), SHA256]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_download_once(server, file, tmp_path):
    running = [start(server, tmp_path) for _ in range(2)]
    for process in running:
        go(process)
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len(server.requests) == 1
    assert (tmp_path / "some.bin").read_bytes() == CONTENT


def test_a_killed_download_is_gone_on_with(server, file, tmp_path):
    def slow(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:280_000])
        handler.wfile.flush()
        time.sleep(30)

    server.plan = [slow]
    process = start(server, tmp_path)
    go(process)
    part = tmp_path / "some.bin.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "some.bin").exists()
    size = part.stat().st_size
    assert 0 < size < len(CONTENT)
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT
    assert server.requests[-1][1]["Range"] == f"bytes={size}-"


KILLED_BUILD = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
from support.official_files import shapes3d
folder = pathlib.Path(sys.argv[2])
case = shapes3d(folder)
moment = sys.argv[3]
def blocks(paths):
    yield case.images[:100]
    if moment == "half way":
        os.kill(os.getpid(), signal.SIGKILL)
    yield case.images[100:]
case.dataset.blocks = blocks
if moment == "before the record":
    import disentangle_bench.data.prepared as prepared
    prepared.write_record = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the array":
    def die(self, target):
        if target.suffix == ".npy":
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(self, target)
    pathlib.Path.replace = die
case.dataset.load(folder)
"""


@pytest.mark.parametrize("moment", ["half way", "before the record", "before the array"])
def test_a_killed_preparation_is_made_up_for(tmp_path, moment):
    tests_folder = str(Path(__file__).parents[1])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BUILD, tests_folder, str(tmp_path), moment],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "shapes3d-v1.npy").exists()
    assert list(tmp_path.glob(".shapes3d-v1-*.tmp.npy"))
    case = shapes3d(tmp_path)
    np.testing.assert_array_equal(case.dataset.load(tmp_path).images(np.arange(480)), case.images)
    assert not list(tmp_path.glob(".*tmp*"))
    case.dataset.verify(tmp_path)
