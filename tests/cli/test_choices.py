"""status, merge and rm: what they print, which runs they take, and what they refuse."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main, results
from disentangle_bench.store import claims, runs, status
from support import records

SPECS = [records.spec("qlae", 0), records.spec("qlae", 1), records.spec("vq_vae", 0), records.spec("vq_vae", 1)]


def dbench(*arguments, status=0, **options):
    result = CliRunner().invoke(main, list(map(str, arguments)), **options)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.stdout if status == 0 else result.stderr


@pytest.fixture
def out(tmp_path):
    """Results folder with a finished run, one that failed, one that stopped and one that was not begun."""
    status.remember(tmp_path / "out", SPECS)
    records.write_run(tmp_path / "out", SPECS[0])
    failed = runs.run_folder(tmp_path / "out", SPECS[1])
    runs.write_failure(failed, SPECS[1], "Diverged: loss not finite at update 7 of 20", "", tmp_path / "out")
    runs.run_folder(tmp_path / "out", SPECS[2]).mkdir()
    return tmp_path / "out"


def test_status(out):
    lines = dbench("status", out).splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["failed", "stopped"]
    assert "at update 7 of 20" in lines[0]
    assert lines[2].split() == ["dataset", "protocol", "model", *status.STATES]
    assert lines[3].split() == ["rooms3d", "cpu", "qlae", "1", "-", "1", "-", "-", "-"]
    assert lines[4].split() == ["rooms3d", "cpu", "vq_vae", "-", "-", "-", "1", "1", "-"]
    assert lines[5:] == ["1 done, 0 running, 1 failed, 1 stopped, 1 missing"]
    assert [line.split()[0] for line in dbench("status", out, "--all").splitlines()[:4]] == [
        "done", "failed", "stopped", "missing",
    ]  # fmt: skip
    assert dbench("status", out, "--failed").splitlines()[-1] == "0 done, 0 running, 1 failed, 0 stopped, 0 missing"
    with claims.claimed(runs.run_folder(out, SPECS[2])):
        assert "runs per hour" in dbench("status", out).splitlines()[-1]


def test_status_as_json(out):
    content = json.loads(dbench("status", out, "--json", "--models", "vq*"))
    assert content["counts"] == {"done": 0, "running": 0, "failed": 0, "stopped": 1, "missing": 1, "damaged": 0}
    assert [row["run_id"] for row in content["runs"]] == [spec.run_id for spec in SPECS[2:]]


def test_many_equal_states_are_a_count(tmp_path):
    for seed in range(30):
        records.write_failure(tmp_path, records.spec("qlae", seed), "Diverged")
    lines = dbench("status", tmp_path).splitlines()
    assert len(lines) == results.LISTED + 2
    assert lines[-2] == "failed   20 more, which --all lists"


def test_watching_ends_when_nothing_is_pending(out, monkeypatch):
    """Nothing runs, but runs are pending: it goes on until they are done or have failed."""
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        for spec in SPECS[len(looks) + 1 :][:1]:
            records.write_run(out, spec)

    monkeypatch.setattr(results.time, "sleep", sleep)
    lines = dbench("status", out, "--watch").splitlines()
    assert len(looks) == 2
    assert lines[-1] == "3 done, 0 running, 1 failed, 0 stopped, 0 missing"


def test_wrong_folders_have_one_text(tmp_path):
    (tmp_path / "foreign").mkdir()
    for arguments in (["status"], ["report"], ["merge", "--out", tmp_path / "x"], ["rm", "--models", "x"], ["score"]):
        assert "is not a results folder" in dbench(arguments[0], tmp_path / "foreign", *arguments[1:], status=2)
        if arguments[0] != "score":  # which takes files too
            assert "there is no results folder" in dbench(arguments[0], tmp_path / "nowhere", *arguments[1:], status=2)
    assert not (tmp_path / "x").exists()


def test_merge(out, tmp_path):
    other = tmp_path / "other"
    records.write_run(other, SPECS[0])
    records.write_run(other, SPECS[3])
    assert (
        dbench("merge", out, other, "--out", tmp_path / "c")
        == f"4 runs copied to {tmp_path / 'c'}, 0 were there already\n"
    )
    assert len((tmp_path / "c" / "results.csv").read_text().splitlines()) > 3
    assert "0 runs copied" in dbench("merge", out, other, "--out", tmp_path / "c")
    assert "2 done, 0 running, 1 failed, 1 stopped, 0 missing" in dbench("status", tmp_path / "c")
    assert "1 runs copied" in dbench("merge", other, "--out", tmp_path / "d", "--models", "vq_vae")


def test_merge_refuses_different_scores_and_copies_nothing(out, tmp_path):
    other = shutil.copytree(out, tmp_path / "other")
    content = json.loads((other / "runs" / SPECS[0].run_id / "record.json").read_text())
    content["scores"][0]["value"] = 0.123
    runs.write_record(other / "runs" / SPECS[0].run_id, content)
    before = (out / "runs" / SPECS[0].run_id / "record.json").read_bytes()
    assert "are the same run with different scores" in dbench("merge", out, other, "--out", tmp_path / "c", status=2)
    assert not (tmp_path / "c").exists()
    assert "different scores" in dbench("merge", other, "--out", out, status=2)
    assert (out / "runs" / SPECS[0].run_id / "record.json").read_bytes() == before


def test_rm(out):
    names = [path.name for path in runs.run_folders(out)]
    assert "unknown run 'qlae'" in dbench("rm", out, "qlae", "--yes", status=2)
    assert "no runs were named" in dbench("rm", out, "--yes", status=2)
    dbench("rm", out, names[0], input="n\n", status=1)
    assert [path.name for path in runs.run_folders(out)] == names
    assert "1 runs removed" in dbench("rm", out, "--failed", "--yes")
    assert "1 runs removed" in dbench("rm", out, "rooms3d-*", "--models", "vq_vae", "--yes")
    assert [path.name for path in runs.run_folders(out)] == [SPECS[0].run_id]
    assert set(line.split(",")[0] for line in (out / "results.csv").read_text().splitlines()[1:]) == {SPECS[0].run_id}
