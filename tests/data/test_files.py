from pathlib import Path

import platformdirs
import pytest

from disentangle_bench.data.files import data_folder
from disentangle_bench.errors import BenchError


def test_the_given_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path / "variable"))
    assert data_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "variable").exists()
    assert data_folder(str(tmp_path / "text")) == tmp_path / "text"


def test_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("DBENCH_DATA", str(tmp_path / "variable"))
    assert data_folder(None) == tmp_path / "variable"
    assert (tmp_path / "variable").is_dir()


@pytest.mark.parametrize("variable", [None, ""])
def test_then_the_users_cache(tmp_path, monkeypatch, variable):
    monkeypatch.delenv("DBENCH_DATA", raising=False)
    if variable is not None:
        monkeypatch.setenv("DBENCH_DATA", variable)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name)
    assert data_folder() == tmp_path / "disentangle-bench"


def test_home_and_relative_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert data_folder("~/x") == tmp_path / "x"
    assert data_folder("y") == Path.cwd() / "y"


@pytest.mark.parametrize("name", ["file/data", "file"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(
        BenchError, match=rf"{name} cannot be used \(.+\); give another folder, or set DBENCH_DATA"
    ) as e:
        data_folder(tmp_path / name)
    assert "\n" not in str(e.value)


def test_nothing_is_left_in_the_folder(tmp_path):
    data_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
