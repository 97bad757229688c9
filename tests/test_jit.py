"""Where machine code of kernels is kept if the installation and the home cannot be written."""

from __future__ import annotations

import tempfile

import pytest
from numba.core import caching, config

from disentangle_bench import jit


@pytest.fixture
def read_only(monkeypatch):
    """As on a read-only installation with a read-only home: only a folder that is named will do."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    monkeypatch.setattr(config, "CACHE_DIR", "")


def kernel(x):
    return x + 1


def test_the_data_folder_keeps_machine_code(read_only, monkeypatch, tmp_path):
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path))
    assert jit.njit(nogil=True)(kernel)(1) == 2
    assert list(tmp_path.glob("dbench-numba-*/**/*.nbi"))


def test_a_folder_that_others_can_write_is_not_used(read_only, monkeypatch, tmp_path):
    """numba unpickles its cache: the temporary folder of the user's own is taken instead."""
    for name in ("data", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    assert jit.njit(nogil=True)(kernel)(1) == 2
    (folder,) = (tmp_path / "data").iterdir()
    folder.chmod(0o777)
    monkeypatch.setattr(config, "CACHE_DIR", "")
    assert jit.njit(nogil=True)(kernel)(1) == 2
    assert list((tmp_path / "tmp").glob("dbench-numba-*/**/*.nbi"))


def test_without_any_folder_nothing_is_kept(read_only, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.delenv("DBENCH_DATA", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    assert jit.njit(nogil=True)(kernel)(1) == 2
