"""Protocols of one's own: from a file, from a plug-in; and validation images."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.config import protocols
from disentangle_bench.config.protocols import PROTOCOLS, is_ranked, protocol
from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.spec import RunSpec
from disentangle_bench.training.batches import evaluation_sample, split

MINE = """
name = "mine"
{more}
[training]
network = "conv64"
updates = 50
batch_size = 8
learning_rate = 1e-3
final_learning_rate = 1e-5
[scoring]
train_images = 400
test_images = 200
metrics = {{ mig = "locatello2019" }}
"""


@pytest.fixture
def mine(tmp_path):
    """``mine("ranked = true")``: the path of a file with a protocol."""

    def write(extra_lines=""):
        path = tmp_path / "mine.toml"
        path.write_text(MINE.format(more=extra_lines))
        return str(path)

    return write


def test_a_file_is_a_protocol(mine):
    resolved = resolve("qlae", "rooms3d", mine(), 0)
    assert resolved.spec.training.updates == 50
    assert resolved.spec.scoring.metrics == {"mig": "locatello2019"}
    assert resolved.spec.changed == ()
    assert resolved.sources["training.updates"] == f"protocol {resolved.spec.protocol}, version 1"


def test_its_digest_is_in_the_name_of_the_spec(mine):
    first = resolve("qlae", "rooms3d", mine(), 0).spec
    second = resolve("qlae", "rooms3d", mine(), 0).spec
    other = resolve("qlae", "rooms3d", mine("dose_updates = 100"), 0).spec
    assert first.protocol == second.protocol != other.protocol
    assert all(spec.protocol.startswith("mine@") for spec in (first, other))


def test_it_is_ranked_if_it_says_so(mine):
    specs = [resolve("qlae", "rooms3d", mine(extra_lines), 0).spec for extra_lines in ("", "ranked = true")]
    assert [is_ranked(spec) for spec in specs] == [False, True]
    assert not is_ranked(resolve("qlae", "rooms3d", mine("ranked = true"), 0, ["model.symbols=3"]).spec)
    assert is_ranked(RunSpec.model_validate_json(specs[1].model_dump_json())), "a worker knows only the spec"


def test_built_in_protocols_say_it_themselves():
    for name, built_in in PROTOCOLS.items():
        spec = resolve("qlae", "rooms3d", name, 0).spec
        assert spec.protocol == name
        assert not spec.protocol_ranked, "or old digests would change"
        assert is_ranked(spec) == built_in.ranked


@pytest.mark.parametrize(
    ("extra_lines", "message"),
    [
        ("ranke = true", "there is no setting 'ranke'"),
        ("version = 'x'", "version = 'x' is not allowed"),
        ("ranked = [", "is not valid TOML"),
        ("dose_updates = " + "9" * 5000, "is not valid TOML"),
        ("summary = " + "[" * 3000, "is not valid TOML"),
    ],
)
def test_bad_files_are_named(mine, extra_lines, message):
    with pytest.raises(BenchError, match=message) as error:
        protocol(mine(extra_lines))
    assert "mine.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_name_that_is_taken(mine, tmp_path):
    with pytest.raises(BenchError, match=r"nowhere.toml' cannot be read"):
        protocol(str(tmp_path / "nowhere.toml"))
    path = mine()
    (tmp_path / "mine.toml").write_text((tmp_path / "mine.toml").read_text().replace('"mine"', '"standard"'))
    with pytest.raises(BenchError, match="has the name of a built-in protocol, 'standard'"):
        protocol(path)


class Point:
    """An entry point of a plug-in that gives ``content``."""

    value = "package:PROTOCOL"

    def __init__(self, name, content):
        self.name, self.content = name, content

    def load(self):
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def test_a_plug_in_adds_a_protocol(mine, monkeypatch):
    point = Point("mine", protocol(mine("ranked = true")))
    monkeypatch.setattr(protocols, "entry_points", lambda group: [point] if group == protocols.ENTRY_POINTS else [])
    spec = resolve("qlae", "rooms3d", "mine", 0).spec
    assert spec.protocol.startswith("mine@")
    assert is_ranked(spec)
    with pytest.raises(BenchError, match=r"unknown protocol 'mien'. Did you mean 'mine'"):
        protocol("mien")


@pytest.mark.parametrize(
    ("content", "message"), [(RuntimeError("broken"), "cannot be imported: broken"), (3, "must give a Protocol")]
)
def test_a_broken_plug_in_is_named(monkeypatch, content, message):
    monkeypatch.setattr(protocols, "entry_points", lambda group: [Point("mine", content)])
    with pytest.raises(BenchError, match=message) as error:
        protocol("mine")
    assert "package:PROTOCOL" in str(error.value)


def test_validation_images_can_be_scored_off_protocol():
    spec = resolve("qlae", "rooms3d", "smoke", 0, ["scoring.images=validation"]).spec
    assert spec.changed == ("scoring.images=validation",)
    assert not is_ranked(spec)
    index, fit = evaluation_sample(spec, 10_000)
    parts = split(10_000)
    np.testing.assert_array_equal(index, parts.validation[:600])
    assert fit == 400
    assert not np.isin(index, np.concatenate([parts.train, parts.test])).any()
