"""Editable installs, wheels and sdists: each finds the baselines and runs."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from configparser import RawConfigParser
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).parent.parent
SMOKE = ["run", "--models", "qlae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1", "--out", "results"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the sdist and the wheel that is built from it, as ``python -m build`` makes them."""
    source = tmp_path_factory.mktemp("source") / "disentangle-bench"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode and "No matching distribution" in result.stdout + result.stderr:
        pytest.skip("the build system (setuptools, wheel) cannot be downloaded here")
    assert result.returncode == 0, result.stdout + result.stderr
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


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Python of a fresh environment with the light wheel and what it requires, downloaded by pip."""
    out, folder = tmp_path_factory.mktemp("light"), tmp_path_factory.mktemp("lightenv")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(ROOT / "light")]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode and "No matching distribution" in result.stdout + result.stderr:
        pytest.skip("the build system (setuptools, wheel) cannot be downloaded here")
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = out.glob("disentangle_bench_light-*.whl")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    result = subprocess.run([python, "-m", "pip", "install", "-q", wheel], capture_output=True, text=True)
    if result.returncode and "No matching distribution" in result.stdout + result.stderr:
        pytest.skip("the requirements cannot be downloaded here")
    assert result.returncode == 0, result.stdout + result.stderr
    return python


@pytest.mark.thorough
def test_the_light_wheel_scores_and_reports_without_torch(light, tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (300, 2))
    np.savez(tmp_path / "codes.npz", codes=factors + 0.1 * rng.standard_normal((300, 2)), factors=factors)
    shutil.copytree(ROOT / "results" / "shipped" / "rooms3d-quick", tmp_path / "results")

    def command(*arguments):
        arguments = [light, "-m", "disentangle_bench", *arguments]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)

    installed = subprocess.check_output([light, "-m", "pip", "list", "--format=freeze"], text=True)
    assert "disentangle-bench-light==" in installed
    assert not [line for line in installed.splitlines() if line.startswith(("torch==", "safetensors=="))]
    for arguments in (["score", "codes.npz", "--out", "scores.json"], ["report", "results", "--html", "page.html"]):
        result = command(*arguments)
        assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert (tmp_path / "page.html").stat().st_size > 100_000
    refusal = command(*SMOKE)
    assert refusal.returncode == 2
    assert refusal.stderr == "Error: this needs PyTorch, which is not installed here: pip install torch safetensors\n"


def test_the_light_distribution_differs_by_name_and_requirements_only(tmp_path):
    runpy.run_path(str(ROOT / "light" / "backend.py"))["write_metadata"](ROOT / "setup.cfg", tmp_path / "setup.cfg")
    full, light = RawConfigParser(), RawConfigParser()
    full.read(ROOT / "setup.cfg")
    light.read(tmp_path / "setup.cfg")
    required = [set(config["options"]["install_requires"].split("\n")) for config in (full, light)]
    assert {line.split()[0] for line in required[0] - required[1]} == {"torch", "safetensors"}
    assert required[1] <= required[0]
    assert light["metadata"]["name"] == "disentangle-bench-light"
    assert light["metadata"]["version"] == full["metadata"]["version"]
    for section, key in (
        ("options", "packages"),
        ("options", "package_dir"),
        ("options.entry_points", "console_scripts"),
    ):
        assert light[section][key].split() == full[section][key].split()


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
    location = subprocess.check_output(
        [installed, "-c", "import disentangle_bench; print(disentangle_bench.__file__)"], text=True, cwd=tmp_path
    )
    assert Path(location.strip()).is_relative_to(installed.parent.parent)
    result = subprocess.run(
        [installed, "-m", "disentangle_bench", *SMOKE], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    (record,) = (tmp_path / "results" / "runs").glob("*/record.json")
    content = json.loads(record.read_text())
    assert content["spec"]["settings"]["weight_decay"] == 0.1
    assert content["package"]["commit"] is None
    output = subprocess.check_output(
        [installed, "-m", "disentangle_bench", "show", "qlae", "rooms3d", "--protocol", "smoke"],
        text=True,
        cwd=tmp_path,
    )
    assert "baselines/qlae.toml" in output


def test_the_console_script_is_installed(installed, tmp_path):
    script = installed.parent / ("dbench.exe" if os.name == "nt" else "dbench")
    assert "qlae" in subprocess.check_output([script, "list", "models"], text=True, cwd=tmp_path)
