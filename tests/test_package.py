"""Editable installs, wheels and sdists: each finds the baselines and runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).parent.parent
SMOKE = ["run", "--models", "qlae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1", "--out", "results"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the sdist and the wheel that is built from it, as ``python -m build`` makes them."""
    source = tmp_path_factory.mktemp("source") / "disentangle-bench"
    kept = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=kept)
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--outdir", str(out), str(source)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stdout + done.stderr:
        pytest.skip("the build system (setuptools, wheel) cannot be downloaded here")
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Python of a fresh environment with nothing but the wheel. The dependencies are borrowed from this environment, to
    spare the download; its own copy of the package is not seen from there, as its .pth files are not read.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    (wheel,) = built.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    (Path(site.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_wheel_has_code_and_baselines_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in ROOT.glob("baselines/*.toml"):
        assert f"disentangle_bench/baseline_files/{path.name}" in names
    for path in ROOT.glob("disentangle_bench/**/*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if not name.startswith(("disentangle_bench/", "disentangle_bench-"))]


def test_sdist_has_tests_and_documents(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "tests/test_package.py", "docs/index.md"} <= names


def test_an_installed_wheel_runs_the_smoke_protocol(installed, tmp_path):
    where = subprocess.check_output(
        [installed, "-c", "import disentangle_bench; print(disentangle_bench.__file__)"], text=True, cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent.parent)
    done = subprocess.run([installed, "-m", "disentangle_bench", *SMOKE], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "results" / "runs").glob("*/record.json")
    content = json.loads(record.read_text())
    assert content["spec"]["settings"]["weight_decay"] == 0.1
    assert content["package"]["commit"] is None
    shown = subprocess.check_output(
        [installed, "-m", "disentangle_bench", "show", "qlae", "rooms3d", "--protocol", "smoke"],
        text=True,
        cwd=tmp_path,
    )
    assert "baselines/qlae.toml" in shown


def test_the_console_script_is_installed(installed, tmp_path):
    script = installed.parent / ("dbench.exe" if os.name == "nt" else "dbench")
    assert "qlae" in subprocess.check_output([script, "list", "models"], text=True, cwd=tmp_path)
