"""Official files that a user has already: linked or copied into the data folder, and checked."""

import os
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.data.files import digest
from disentangle_bench.data.official import adopt
from disentangle_bench.errors import BenchError
from support.official_files import MAKERS, smallnorb


def test_a_users_file_is_linked_and_not_copied(case, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    small = case.dataset
    for path in small.paths(case.folder):
        adopted = adopt(small.card, small.accepted_files(), path, data)
        assert adopted.samefile(path)
    np.testing.assert_array_equal(small.load(data).images([3]), case.images[[3]])
    for path in small.traces(data):
        path.unlink()
    assert list(data.iterdir()) == []
    assert all(path.exists() for path in small.paths(case.folder))


def test_a_users_file_of_another_name_is_known_by_its_checksum(tmp_path):
    case = smallnorb(tmp_path)
    info = case.dataset.card.files[2]
    other = tmp_path / "renamed.gz"
    (tmp_path / info.name).rename(other)
    assert adopt(case.dataset.card, case.dataset.card.files, other, tmp_path / "data").name == info.name
    other.write_bytes(b"something else")
    with pytest.raises(BenchError, match="none of the files of smallnorb"):
        adopt(case.dataset.card, case.dataset.card.files, other, tmp_path / "data")


def test_a_users_file_that_is_not_the_official_one_is_refused(tmp_path):
    case = MAKERS["shapes3d"](tmp_path)
    with (tmp_path / "3dshapes.h5").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BenchError, match=r"is not 3dshapes\.h5 of shapes3d: it has \d+ bytes"):
        adopt(case.dataset.card, case.dataset.card.files, tmp_path / "3dshapes.h5", tmp_path / "data")
    assert not (tmp_path / "data" / "3dshapes.h5").exists()


def test_without_links_a_users_file_is_copied(tmp_path, monkeypatch):
    case = MAKERS["shapes3d"](tmp_path)

    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    adopted = adopt(case.dataset.card, case.dataset.card.files, tmp_path / "3dshapes.h5", tmp_path / "data")
    assert not adopted.samefile(tmp_path / "3dshapes.h5")
    assert digest(adopted) == digest(tmp_path / "3dshapes.h5")
