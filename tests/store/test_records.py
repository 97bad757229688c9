"""One reader of records: whatever lies in place of a record, it is one line that names the file."""

from __future__ import annotations

import copy
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.errors import BenchError
from disentangle_bench.store import files, runs
from support import records

SHIPPED = sorted((Path(__file__).parents[2] / "results/shipped").glob("*/runs/*/record.json"))
ODD = [None, True, -1, 2**70, 10**400, 1.5, -1e308, "", "x", "\x1b[31m\nx", "../../x", [], [[]], {}, {"a": []}, [1] * 9]


def shipped():
    return json.loads(SHIPPED[0].read_text())


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


def replaced(content, path, value):
    """Return a copy of ``content`` with another value at ``path``; ``...`` takes it away."""
    content = copy.deepcopy(content)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


def paths(content, before=()):
    """Yield the way to every value of a record."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*before, key))


@pytest.fixture
def folder(tmp_path):
    """Folder of one run beside a good one."""
    good_folder = tmp_path / "runs" / "good"
    good_folder.mkdir(parents=True)
    runs.write_record(good_folder, shipped())
    (tmp_path / "runs" / "odd").mkdir()
    return tmp_path / "runs" / "odd"


PLANTED = {
    "schema null": (["schema"], None),
    "schema text": (["schema"], "1"),
    "schema list": (["schema"], [1]),
    "schema true": (["schema"], True),
    "schema 0": (["schema"], 0),
    "newer schema": (["schema"], 2),
    "no schema": (["schema"], ...),
    "no spec": (["spec"], ...),
    "no digest": (["digest"], ...),
    "no package": (["package"], ...),
    "no scores": (["scores"], ...),
    "spec a text": (["spec"], "x"),
    "package a text": (["package"], "0.1.0"),
    "scores a number": (["scores"], 3),
    "score a text": (["scores", 0], "x"),
    "score without a value": (["scores", 0, "value"], ...),
    "value a text": (["scores", 0, "value"], "0.5"),
    "value beyond numbers": (["scores", 0, "value"], 10**400),
    "seed a text": (["spec", "seed"], "0"),
    "seed beyond 64 bits": (["spec", "seed"], 2**63),
    "setting beyond numbers": (["spec", "settings", "latents"], 10**400),
    "setting a list": (["spec", "settings", "latents"], [10]),
    "extra key": (["spec", "extra"], 1),
    "another digest": (["digest"], "0" * 64),
    "seed edited": (["spec", "seed"], 7),
    "setting edited": (["spec", "settings", "latents"], 13),
    "changed edited": (["spec", "changed"], ["training.updates"]),
    "ranked edited": (["ranked"], True),
    "deep": (["notes"], nested(500)),
    "half of a character": (["spec", "model"], "\ud800"),
    "factor names of numbers": (["dataset", "factor_names"], [1, 2]),
    "seconds of text": (["seconds", "training"], "long"),
    "finished a number": (["finished"], 20260101),
}


@pytest.mark.parametrize(("path", "value"), PLANTED.values(), ids=PLANTED)
def test_a_planted_mutation_is_one_line(folder, path, value):
    spec = records.spec("qlae", 0, protocol="quick", protocol_version=PROTOCOLS["quick"].version)
    record = replaced(records.content(spec), path, value)
    (folder / "record.json").write_text(json.dumps(record))
    result = runs.read_records(folder.parents[1])
    assert [record.folder.name for record in result.records] == ["good"]
    (line,) = result.problems.values()
    assert str(folder / "record.json") in line
    assert "\n" not in line
    assert len(line) < 400 + len(str(folder))
    assert not runs.is_finished(folder)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "1e999", "9" * 5000, "[" * 10**5, "{", "", "\x00", "[1]", "7"])
def test_what_is_not_json_is_one_line(folder, constant):
    (folder / "record.json").write_text(constant)
    assert list(runs.read_records(folder.parents[1]).problems) == ["odd"]
    content = SHIPPED[0].read_text().replace('"seed": 0', f'"seed": {constant}', 1)
    (folder / "record.json").write_text(content)
    assert list(runs.read_records(folder.parents[1]).problems) == ["odd"]


def fifo(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def large(path):
    with path.open("wb") as file:
        file.truncate(10**12)


@pytest.mark.parametrize("plant", [fifo, endless, large, Path.mkdir, lambda path: path.write_bytes(b"\xff\xfe{}")])
def test_what_is_no_regular_file_of_a_records_size_is_never_opened(folder, plant):
    plant(folder / "record.json")
    assert list(runs.read_records(folder.parents[1]).problems) == ["odd"]


def test_scores_that_were_edited_are_found_by_the_checksum(folder):
    runs.write_record(folder, shipped())
    assert runs.is_finished(folder)
    content = json.loads((folder / "record.json").read_text())
    content["scores"][0]["value"] = 0.999
    (folder / "record.json").write_text(json.dumps(content))
    with pytest.raises(BenchError, match="was edited: its content does not have the checksum"):
        runs.read_record(folder)


def test_random_mutations_are_read_or_one_line(folder):
    """No exception but the reader's own: every value of a record is replaced by something odd."""
    rng = random.Random(0)
    record = shipped()
    ways = list(paths(record))
    for path in rng.sample(ways, min(150, len(ways))):
        content = replaced(record, path, rng.choice([..., *ODD]))
        (folder / "record.json").write_text(json.dumps(content))
        result = runs.read_records(folder.parents[1])
        assert len(result.records) + len(result.problems) == 2, path
        runs.tidy(result.records)


def test_a_damaged_record_is_moved_aside_and_never_overwritten(folder):
    for number in (1, 2):
        (folder / "record.json").write_text(f"damaged {number}")
        runs.set_aside(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["record.damaged-1.json", "record.damaged-2.json"]
    assert (folder / "record.damaged-2.json").read_text() == "damaged 2"


def test_run_moves_a_damaged_record_aside_and_does_the_run_again(tmp_path, monkeypatch):
    from disentangle_bench.runner import attempt as runner
    from disentangle_bench.runner.resources import Resources

    spec = records.spec("qlae", 0)
    folder = records.write_run(tmp_path, spec)
    content = (folder / "record.json").read_bytes()
    (folder / "record.json").write_bytes(content[:-20])
    monkeypatch.setattr(runner, "run_one", lambda *arguments, **options: (folder / "record.json").write_bytes(content))
    outcome = runner.attempt(spec, tmp_path, Resources(data=tmp_path), lambda *arguments: None, lambda: False)
    assert outcome == ("done", "")
    assert (folder / "record.damaged-1.json").read_bytes() == content[:-20]
    assert runs.is_finished(folder)
    monkeypatch.setattr(runner, "run_one", lambda *arguments, **options: pytest.fail("it is finished"))
    assert runner.attempt(spec, tmp_path, Resources(data=tmp_path), lambda *arguments: None, lambda: False)[0] == "done"


def test_a_flipped_bit_in_codes_or_weights_is_found_when_they_are_read(tmp_path):
    from disentangle_bench.scoring.score import _score_run

    folder = records.write_run(tmp_path, records.spec("qlae", 0))
    rng = np.random.default_rng(0)
    np.savez(folder / "codes.npz", codes=rng.normal(size=(60, 2)), factors=rng.integers(0, 3, (60, 2)))
    (folder / "model.safetensors").write_bytes(bytes(100))
    names = ("codes.npz", "model.safetensors")
    content = runs.read_record(folder).content
    runs.write_record(folder, content | {"files": {name: files.digest(folder / name) for name in names}})
    before = (folder / "record.json").read_bytes()
    for name in names:
        assert runs.check_file(runs.read_record(folder), name) == folder / name
        data = bytearray((folder / name).read_bytes())
        data[70] ^= 1
        (folder / name).write_bytes(bytes(data))
        with pytest.raises(BenchError, match=f"{name} is damaged, its SHA-256"):
            runs.check_file(runs.read_record(folder), name)
    with pytest.raises(BenchError, match=r"codes\.npz is damaged"):
        _score_run(folder, {"mig": "locatello2019"}, {})
    assert (folder / "record.json").read_bytes() == before
    (folder / "codes.npz").unlink()
    with pytest.raises(BenchError, match="there is no file"):
        _score_run(folder, {"mig": "locatello2019"}, {})


def test_a_failure_in_a_folder_whose_name_is_no_text(tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    spec = records.spec("qlae", 0)
    folder = runs.run_folder(out, spec)
    runs.write_failure(folder, spec, f"OSError: {out}", f"Traceback\n{out}\n", out)
    failure = runs.read_failure(folder)
    assert "caf\\" in failure["error"]
    assert "caf\\" in failure["command"]
    for name in failure.values():
        str(name).encode()


def test_all_shipped_records_are_good():
    for out in {path.parents[2] for path in SHIPPED}:
        result = runs.read_records(out)
        assert result.problems == {}
        assert all(record.spec.run_id == record.folder.name for record in result.records)
