"""How far runs are: the claim decides what is alive, files that cannot be read are named, and choices among runs."""

from __future__ import annotations

import json
import os
import time

import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.store import claims, runs, status
from disentangle_bench.store.status import Selection
from support import records

BEAT = {"schema": 1, "phase": "training", "done": 3, "total": 20, "seconds_left": 9.0, "host": "here", "pid": 1}


@pytest.fixture
def grid(tmp_path):
    """Results folder with one run in each state, but for running."""
    specs = [records.spec("qlae", seed) for seed in range(4)] + [records.spec("vq_vae", 0, dataset="shapes3d")]
    status.remember(tmp_path, specs)
    records.write_run(tmp_path, specs[0])
    runs.write_failure(runs.run_folder(tmp_path, specs[1]), specs[1], "Diverged\x1b[2J at update 7", "", tmp_path)
    runs.run_folder(tmp_path, specs[2]).mkdir()
    damaged_folder = runs.run_folder(tmp_path, specs[4])
    damaged_folder.mkdir()
    (damaged_folder / "record.json").write_text("{")
    return tmp_path


def states(out):
    return {row.run_id.split("-")[2] + row.run_id.split("-")[3][-1]: row for row in status.states(out)}


def test_all_states(grid):
    assert {name: row.state for name, row in states(grid).items()} == {
        "qlae0": "done", "qlae1": "failed", "qlae2": "stopped", "qlae3": "missing", "vq_vae0": "damaged",
    }  # fmt: skip
    assert states(grid)["qlae1"].detail == "Diverged [2J at update 7"
    assert "record.json" in states(grid)["vq_vae0"].detail
    expected = {"done": 1, "running": 0, "failed": 1, "stopped": 1, "missing": 1, "damaged": 1}
    assert status.counts(status.states(grid)) == expected


@pytest.mark.parametrize("name", ["qlae1", "qlae2", "vq_vae0"])
def test_a_claim_is_what_makes_a_run_alive(grid, name):
    """Between the claim and the first heartbeat, and in a phase without one, a run is running; without a claim not."""
    folder = grid / "runs" / states(grid)[name].run_id
    before = states(grid)[name].state
    with claims.claimed(folder):
        assert states(grid)[name].state == "running"
        (folder / claims.PROGRESS).write_text(json.dumps(BEAT))
        assert states(grid)[name].detail == "training 3/20, 9 s left (here)"
        old = time.time() - 300
        os.utime(folder / claims.PROGRESS, (old, old))
        assert states(grid)[name].detail == "no news for over a minute"
    os.utime(folder / claims.PROGRESS)
    assert states(grid)[name].state == before  # its process died just after a beat


def test_asking_takes_no_claim_away(grid):
    """A run that starts at the moment at which somebody asks is not busy."""
    folder = grid / "runs" / states(grid)["qlae2"].run_id
    with claims.claimed(folder):
        pass
    from threading import Event, Thread

    end = Event()

    def ask():
        while not end.is_set():
            claims.is_claimed(folder)

    thread = Thread(target=ask)
    thread.start()
    try:
        for _ in range(50):
            with claims.claimed(folder):
                pass
    finally:
        end.set()
        thread.join()


def test_a_lock_that_is_a_link_empties_no_file(grid, tmp_path):
    (tmp_path / "precious").write_text("keep me")
    folder = grid / "runs" / states(grid)["qlae2"].run_id
    (folder / claims.LOCK).symlink_to(tmp_path / "precious")
    assert not claims.is_claimed(folder)
    with claims.claimed(folder):
        assert (tmp_path / "precious").read_text() == "keep me"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}',
                                     '{"schema": 1, "specs": [{"spec": 1, "seeds": 2}]}',
                                     '{"schema": 1, "specs": 3}', '{"schema": 1, "spec": {}}'])  # fmt: skip
def test_grids_and_specs_that_cannot_be_read_are_named(grid, content):
    before = status.states(grid)
    (grid / "grids" / "odd.json").write_text(content)
    (grid / "runs" / "odd").mkdir()
    (grid / "runs" / "odd" / "spec.json").write_text(content)
    problems: list[str] = []
    rows = status.states(grid, problems)
    assert rows[:-1] == before
    assert (rows[-1].run_id, rows[-1].state, rows[-1].spec) == ("odd", "stopped", None)
    assert len(problems) == 2
    assert "odd.json" in problems[0]
    assert "spec.json" in problems[1]


@pytest.mark.parametrize(("selection", "names"), [
    (Selection(), "qlae0 qlae1 qlae2 qlae3 vq_vae0"),
    (Selection(patterns=("rooms3d-*seed[01]-*",)), "qlae0 qlae1"),
    (Selection(models=("v*",)), "vq_vae0"),
    (Selection(datasets=("rooms3d", "shapes3d"), failed=True), None),
    (Selection(datasets=("rooms3d",), failed=True), "qlae1"),
    (Selection(protocols=("cpu",), models=("qlae",), patterns=("*seed2*", "*seed3*")), "qlae2 qlae3"),
])  # fmt: skip
def test_selection(grid, selection, names):
    rows = states(grid)
    if names is None:
        with pytest.raises(BenchError, match="unknown dataset 'shapes3d'"):
            selection.of(list(rows.values()))
    else:
        assert selection.of(list(rows.values())) == [rows[name] for name in names.split()]


def test_an_unknown_name_among_thousands_lists_ten(tmp_path):
    status.remember(tmp_path, [records.spec("qlae", seed) for seed in range(3000)])
    with pytest.raises(BenchError) as error:
        Selection(patterns=("nope*",)).of(status.states(tmp_path))
    assert len(str(error.value)) < 700
    assert "and 2990 more" in str(error.value)


def test_speed_and_time_left(grid):
    """One run of 103 seconds is done, one is running with 9 seconds left, and three of the same kind are to be done."""
    rows = status.states(grid)
    assert status.pace(rows) == status.Pace(None, None)
    folder = grid / "runs" / states(grid)["qlae2"].run_id
    with claims.claimed(folder):
        (folder / claims.PROGRESS).write_text(json.dumps(BEAT))
        rows = status.states(grid)
        content = status.as_json(rows)
    assert content["runs_per_hour"] == pytest.approx(3600 / 103)
    assert content["seconds_left"] == pytest.approx(9 + 2 * 103)
    assert content["counts"]["running"] == 1
    assert [row["done"] for row in content["table"]] == [1, 0]
    assert [row["dataset"] for row in content["table"]] == ["rooms3d", "shapes3d"]
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (7200, "2.0 h"), (172800, "2.0 days")]
)
def test_durations(seconds, expected):
    assert status.duration(seconds) == expected


def test_heartbeats_are_seldom_and_cheap(tmp_path, monkeypatch):
    """Two thousand beats within five seconds write the file once."""
    contents = []
    monkeypatch.setattr(claims, "write_json", lambda path, content: contents.append(content))
    with claims.Heartbeat(tmp_path) as heartbeat:
        for step in range(2000):
            heartbeat.beat("training", step, 2000)
    assert [content["done"] for content in contents] == [0]
