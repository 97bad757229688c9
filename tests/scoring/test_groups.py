"""``groups.json``: runs that differ in their seed only are compared by their codes of the same images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard
from disentangle_bench.names import Entry
from disentangle_bench.registry import GROUP_METRICS
from disentangle_bench.scoring.files import save_evaluation
from disentangle_bench.scoring.groups import write_groups
from disentangle_bench.store.runs import Record

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(300, 12))
FACTORS = RNG.integers(0, 4, (300, 2))


def record(out, seed, values, index=None, changes=()):
    spec = resolve("beta_vae", "rooms3d", "smoke", seed, list(changes)).spec
    folder = out / "runs" / spec.run_id
    folder.mkdir(parents=True)
    positions = np.arange(300) if index is None else index
    save_evaluation(folder / "codes.npz", Evaluation(Codes(values), FACTORS, 200, index=positions))
    return Record(folder, {"spec": spec.model_dump(mode="json"), "scores": []})


def test_seeds_of_a_model_are_a_group_and_other_settings_another(tmp_path):
    records = [record(tmp_path, seed, CODES if seed else CODES[:, ::-1]) for seed in (2, 0, 1)]
    records.append(record(tmp_path, 0, CODES, changes=["model.kl_weight=9"]))
    path = write_groups(tmp_path, records)
    content = json.loads(path.read_text())
    (group,) = content["groups"]
    assert content["schema"] == 1
    assert (group["model"], group["dataset"], group["protocol"], group["seeds"]) == (
        "beta_vae",
        "rooms3d",
        "smoke",
        [0, 1, 2],
    )
    scores = {f"{row['metric']}.{row['score']}": row for row in group["scores"]}
    assert set(scores) == {"consistency.permutation", "consistency.rigid", "consistency.linear", "udr.score"}
    for row in scores.values():
        assert row["chance"] < 0.3 < row["value"]
        assert row["paper"]
        assert row["version"] == 1
    assert scores["consistency.permutation"]["value"] == pytest.approx(1)
    assert list(scores["udr.score"]["by_run"]) == group["runs"]


def test_other_images_and_damaged_codes_are_left_out_and_named(tmp_path):
    records = [record(tmp_path, 0, CODES), record(tmp_path, 1, CODES), record(tmp_path, 2, CODES, np.arange(1, 301))]
    records.append(record(tmp_path, 3, CODES))
    damaged = records[3].folder / "codes.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    (group,) = json.loads(write_groups(tmp_path, records).read_text())["groups"]
    assert group["seeds"] == [0, 1]
    reasons = [group["problems"][record.folder.name] for record in records[2:]]
    assert reasons[0] == f"its codes are of other images than those of {records[0].folder.name}"
    assert "cannot be read as an .npz" in reasons[1]


def test_codes_of_another_size_are_left_out_and_named(tmp_path):
    records = [record(tmp_path, 0, CODES), record(tmp_path, 1, CODES), record(tmp_path, 2, CODES[:, :3])]
    (group,) = json.loads(write_groups(tmp_path, records).read_text())["groups"]
    assert group["seeds"] == [0, 1]
    assert "another shape" in group["problems"][records[2].folder.name]


def test_only_what_has_changed_is_scored_again(tmp_path):
    def update(records):
        lines = []
        write_groups(tmp_path, records, anew=False, say=lines.append)
        rows = json.loads((tmp_path / "groups.json").read_text())["groups"]
        return lines, {(tuple(row["changed"]), len(row["seeds"])): row["scores"] for row in rows}

    records = [record(tmp_path, seed, CODES) for seed in (0, 1)]
    records += [record(tmp_path, seed, CODES, changes=["model.kl_weight=9"]) for seed in (0, 1)]
    lines, first = update(records)
    assert len(lines) == len(first) == 2
    assert update(records) == ([], first)
    records.append(record(tmp_path, 2, CODES[:, ::-1]))
    lines, second = update(records)
    assert len(lines) == 1
    changed = ("model.kl_weight=9.0",)
    assert set(second) == {((), 3), (changed, 2)}
    assert second[changed, 2] == first[changed, 2]
    for each in records[2:4]:
        (each.folder / "codes.npz").unlink()
    _, third = update(records)
    assert third == second
    records[0].content["files"] = {"codes.npz": "of another time"}
    lines, _ = update(records)
    assert len(lines) == 2  # this one, and the one without codes is tried again
    write_groups(tmp_path, records)
    assert update(records)[1] == third  # also if all are scored anew


@pytest.mark.parametrize("content", ['{"schema": 2, "groups": []}', '{"schema": 1, "groups": 3}', "{"])
def test_a_file_that_cannot_be_read_is_only_replaced_if_all_is_scored_anew(tmp_path, content):
    records = [record(tmp_path, seed, CODES) for seed in (0, 1)]
    (tmp_path / "groups.json").write_text(content)
    assert write_groups(tmp_path, records, anew=False) is None
    assert (tmp_path / "groups.json").read_text() == content
    assert len(json.loads(write_groups(tmp_path, records).read_text())["groups"]) == 1


@pytest.mark.parametrize("anew", [True, False])
def test_a_group_keeps_its_scores_when_codes_of_some_runs_are_gone(tmp_path, anew):
    records = [record(tmp_path, seed, CODES if seed else CODES[:, ::-1]) for seed in range(3)]
    path = write_groups(tmp_path, records)
    before = path.read_text()
    (records[2].folder / "codes.npz").unlink()
    write_groups(tmp_path, records, anew=anew)
    assert path.read_text() == before
    damaged = records[0].folder / "codes.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    write_groups(tmp_path, records, anew=anew)
    assert path.read_text() == before


def test_the_file_does_not_depend_on_how_the_folder_is_spelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [record(tmp_path, seed, CODES) for seed in range(3)]
    (records[2].folder / "codes.npz").unlink()
    contents = []
    for out in (tmp_path, Path(".")):
        spelled = [Record(out / "runs" / each.folder.name, each.content) for each in records]
        contents.append(write_groups(out, spelled).read_text())
    assert contents[0] == contents[1]
    assert records[2].folder.name in contents[0]


def test_without_a_group_the_file_goes(tmp_path):
    records = [record(tmp_path, seed, CODES) for seed in (0, 1)]
    write_groups(tmp_path, records)
    assert write_groups(tmp_path, records[:1], anew=False) is None
    assert not (tmp_path / "groups.json").exists()


def test_a_metric_that_refuses_the_codes_is_named(tmp_path, monkeypatch):
    def refuse(codes):
        raise BenchError("not these codes")

    monkeypatch.setattr("disentangle_bench.metrics._udr.udr", refuse)
    (group,) = json.loads(write_groups(tmp_path, [record(tmp_path, seed, CODES) for seed in (0, 1)]).read_text())[
        "groups"
    ]
    assert group["problems"] == {"udr": "not these codes"}
    assert {row["metric"] for row in group["scores"]} == {"consistency"}


def test_a_plug_in_may_compare_runs(tmp_path, monkeypatch):
    module = ModuleType("number_of_runs")
    module.CARD = MetricCard("number_of_runs", 3, "paper", "", (ScoreCard("n", True, ""),), {"plain": ""})
    module.number_of_runs = lambda codes: MetricResult({"n": len(codes)}, {}, {})
    monkeypatch.setitem(sys.modules, "number_of_runs", module)
    monkeypatch.setitem(GROUP_METRICS.entries, "number_of_runs", Entry("number_of_runs", "number_of_runs", ""))
    (group,) = json.loads(write_groups(tmp_path, [record(tmp_path, seed, CODES) for seed in (0, 1)]).read_text())[
        "groups"
    ]
    (row,) = (row for row in group["scores"] if row["metric"] == "number_of_runs")
    assert (row["score"], row["value"], row["version"]) == ("n", 2, 3)


def test_single_runs_make_no_file(tmp_path):
    assert write_groups(tmp_path, [record(tmp_path, 0, CODES)]) is None
    assert not (tmp_path / "groups.json").exists()
