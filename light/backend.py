"""Builds the distribution ``disentangle-bench-light``: the sources of this repository, without PyTorch among what they
require.

``pip install ./light`` calls it. The sources are copied, ``setup.cfg`` is changed in the copy, and setuptools does the
rest there; an sdist is such a copy, which needs this file no more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from configparser import RawConfigParser
from contextlib import chdir
from pathlib import Path

from setuptools import build_meta

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"torch", "safetensors"}
EXTRAS = {"parquet"}
"""Extras that make sense without training."""


def build_wheel(
    wheel_directory: str, config_settings: dict | None = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel into a folder and return its name, as PEP 517 wants it."""
    return _in_a_copy(build_meta.build_wheel, wheel_directory, config_settings)


def build_sdist(sdist_directory: str, config_settings: dict | None = None) -> str:
    """Build the sdist into a folder and return its name, as PEP 517 wants it."""
    return _in_a_copy(build_meta.build_sdist, sdist_directory, config_settings)


def _in_a_copy(build: Callable[..., str], target: str, config_settings: dict | None) -> str:
    target = os.path.abspath(target)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, folder)
        for name in ("disentangle_bench", "baselines"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder, "MANIFEST.in").write_text("recursive-include baselines *.toml\n")
        write_metadata(ROOT / "setup.cfg", Path(folder, "setup.cfg"))
        with chdir(folder):
            return build(target, config_settings)


def write_metadata(source: Path, target: Path) -> None:
    """Write ``setup.cfg`` with another name and fewer requirements."""
    config = RawConfigParser()
    config.read(source, encoding="utf-8")
    config["metadata"]["name"] += "-light"
    config["metadata"]["description"] = "Scores and reports of disentangle-bench, installed without PyTorch"
    required = config["options"]["install_requires"].strip().splitlines()
    kept = [line for line in required if line.split()[0] not in LEFT_OUT]
    config["options"]["install_requires"] = "\n" + "\n".join(kept)
    for extra in set(config["options.extras_require"]) - EXTRAS:
        del config["options.extras_require"][extra]
    with target.open("w", encoding="utf-8") as file:
        config.write(file)
