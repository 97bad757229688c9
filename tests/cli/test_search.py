"""A search from the first command to the last: drawn points, selection on validation images, runs with the settings."""

from __future__ import annotations

import dataclasses
import re
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import disentangle_bench as db
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import udr
from disentangle_bench.report import write_report
from disentangle_bench.report.figures.budget import expected_best
from disentangle_bench.report.figures.drawing import figure
from disentangle_bench.scoring import encode, selection
from disentangle_bench.scoring.files import load_evaluation, save_evaluation
from disentangle_bench.spec import Tuning
from disentangle_bench.store import files, runs, status
from disentangle_bench.training import batches
from disentangle_bench.training.trainer import Trainer
from support import records
from support.grid_runs import contents
from support.invoke import in_process, one_line

PROTOCOL = """
name = "tiny"
ranked = true
[training]
network = "conv64"
updates = 3
batch_size = 4
learning_rate = 1e-3
final_learning_rate = 1e-6
[scoring]
train_images = 60
test_images = 30
metrics = { mse = "heldout" }
"""
SEARCH = ["run", "--datasets", "images.npz", "--protocol", "tiny.toml", "--search", "3", "--out", "found"]
HOW = "tuned by mse, budget 3, space version 1"
MODELS = ["--models", "ae"]


N = 900


def write_inputs(folder):
    """Write ``tiny.toml`` and a dataset of ``N`` small images of bars."""
    (folder / "tiny.toml").write_text(PROTOCOL)
    factors = np.stack(np.unravel_index(np.arange(N), (3, 15, 20)), axis=1)
    images = np.zeros((N, 16, 16, 1), dtype=np.uint8)
    for image, (row, left, value) in zip(images, factors, strict=True):
        image[5 * row : 5 * row + 4, left:] = 10 * value + 50
    np.savez(folder / "images.npz", images=images, factors=factors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the inputs and a finished search in ``found``: do not write into it."""
    folder = tmp_path_factory.mktemp("search")
    write_inputs(folder)
    result = in_process([*SEARCH, *MODELS, "--seeds", "2"], {}, folder)
    assert result.returncode == 0, result.stderr
    assert "6 finished, 0 skipped, 0 failed" in result.stdout
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def loaded(folder, model):
    """Records of a model's search by point and seed."""
    records = [record for record in runs.load_records(folder / "found") if record.spec.model == model]
    return {(record.spec.search.point, record.spec.seed): record for record in records}


@pytest.mark.slow
def test_a_killed_search_resumes_to_the_same_points(folder, tmp_path, monkeypatch):
    write_inputs(tmp_path)
    arguments, update, calls = [*SEARCH, "--models", "ae", "--seeds", "1"], Trainer.update, []

    def killed(trainer):
        calls.append(trainer)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", killed)
    assert in_process(arguments, {}, tmp_path).returncode == 130
    monkeypatch.setattr(Trainer, "update", update)
    assert len(list((tmp_path / "found" / "runs").glob("*/record.json"))) == 1
    message = one_line(in_process(["select", "found", "--by", "mse"], {}, tmp_path))
    assert "2 runs of the search are not finished" in message
    assert "2 finished, 1 skipped" in in_process(arguments, {}, tmp_path).stdout
    expected = contents(folder / "found")
    assert contents(tmp_path / "found") == {name: expected[name] for name in expected if "-ae-seed0" in name}


@pytest.mark.parametrize("by", selection.CRITERIA)
def test_each_criterion_selects_by_its_own_number(copy, by):
    result = in_process(["select", "found", "--by", by], {}, copy)
    assert result.returncode == 0, result.stderr
    toml = (copy / "found" / "selected" / f"{by}.toml").read_text()
    assert ("labels of 1,000 validation images" in toml) == (by == "dci.disentanglement")
    point_records = loaded(copy, "ae")
    codes = {key: load_evaluation(record.folder / "codes.npz") for key, record in point_records.items()}
    if by == "mse":
        numbers = {key: codes[key].squared_error.mean() for key in codes}
    elif by == "loss":
        numbers = {key: float((record.folder / "history.csv").read_text().splitlines()[-1].split(",")[2])
                   for key, record in point_records.items()}  # fmt: skip
    elif by == "udr":
        numbers = {(point, seed): -udr([codes[point, s].codes.values for s in (0, 1)]).scores["score"]
                   for point, seed in codes}  # fmt: skip
    else:
        module = selection.metric_module("dci")
        numbers = {key: -module.score(evaluation, variant=module.CARD.default_variant, rng=0).scores["disentanglement"]
                   for key, evaluation in codes.items()}  # fmt: skip
    means = [np.mean([numbers[point, seed] for seed in (0, 1)]) for point in range(3)]
    assert f"point {int(np.argmin(means))} of 3" in result.stdout


def test_validation_and_test_images_are_disjoint():
    for n in (30, 41, 1000):
        split = batches.split(n)
        parts = [set(part.tolist()) for part in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == n
        assert set.union(*parts) == set(range(n))


def test_a_leak_of_test_images_is_found(copy, monkeypatch):
    """One run of the search encodes the test images, as a fault in the sample would have it."""
    for record in loaded(copy, "ae").values():
        selection.check_disjoint(record)
    victim = loaded(copy, "ae")[1, 0]
    shutil.rmtree(victim.folder)
    honest = batches.evaluation_sample

    def leaking(spec, n):
        index, fit = honest(spec, n)
        return np.append(index[:-1], batches.split(n).test[0]), fit

    monkeypatch.setattr(encode, "evaluation_sample", leaking)
    assert in_process([*SEARCH, *MODELS, "--seeds", "2"], {}, copy).returncode == 0
    for by in selection.CRITERIA:
        message = one_line(in_process(["select", "found", "--by", by], {}, copy))
        assert f"1 codes of {victim.folder.name} are of images outside the validation split" in message


def test_codes_without_positions_are_refused(copy):
    record = loaded(copy, "ae")[0, 0]
    path = record.folder / "codes.npz"
    save_evaluation(path, dataclasses.replace(load_evaluation(path), index=None))
    content = record.content | {"files": {"codes.npz": files.digest(path)}}
    runs.write_record(record.folder, {key: value for key, value in content.items() if key != "checksum"})
    with pytest.raises(BenchError, match="does not say that its codes are of validation images"):
        selection.select(copy / "found", "mse")


def test_unfinished_and_unequal_searches_are_refused(copy, monkeypatch):
    arguments = ["select", "found", "--by", "mse"]
    shutil.rmtree(loaded(copy, "ae")[2, 1].folder)
    assert "1 runs of the search are not finished" in one_line(in_process(arguments, {}, copy))
    plan = ["plan", *SEARCH[1:], *MODELS, "--seeds", "2", "--keep"]
    assert len(in_process([*plan, "--search-seed", "1"], {}, copy).stdout.splitlines()) == 4  # the default is done
    message = one_line(in_process(arguments, {}, copy))
    assert "--sampler random --search-seed 0, --sampler random --search-seed 1" in message
    assert "4 runs of the search are not" in one_line(in_process([*arguments, "--search-seed", "1"], {}, copy))
    (copy / "other" / "runs").mkdir(parents=True)
    assert "holds no search" in one_line(in_process(["select", "other", "--by", "mse"], {}, copy))
    (trial,) = selection.trials(copy / "found", seed=0)
    trial = dataclasses.replace(trial, missing=0)
    other_trial = dataclasses.replace(trial, spec=trial.spec.model_copy(update={"model": "qlae"}), budget=4)
    monkeypatch.setattr(selection, "trials", lambda *_: [trial, other_trial])
    assert "the budgets differ (ae 3, qlae 4)" in one_line(in_process(arguments, {}, copy))


def test_a_point_that_fails_is_tried_and_not_selected(copy):
    best = min(loaded(copy, "ae").items(), key=lambda item: item[1].scores[0]["value"])[1]
    runs.write_failure(best.folder, best.spec, "Diverged", "", copy / "found")
    (best.folder / "record.json").unlink()
    _, (selected,) = selection.select(copy / "found", "mse")
    assert selected.point != best.spec.search.point
    assert selected.tuned.budget == 3


def test_selected_settings_are_run_and_named(copy):
    result = in_process(["select", "found", "--by", "mse"], {}, copy)
    point = int(re.search(r"point (\d)", result.stdout).group(1))
    final = ["run", *MODELS, "--datasets", "images.npz", "--protocol", "tiny.toml", "--out", "final"]
    final += ["--settings", "found/selected/mse.toml"]
    assert "had a part in selecting" in one_line(in_process([*final, "--seeds", "1-3"], {}, copy))
    result = in_process([*final, "--seeds", "=2"], {}, copy)
    assert "1 finished, 0 skipped, 0 failed" in result.stdout, result.stderr
    (record,) = runs.load_records(copy / "final")
    assert record.spec.settings == loaded(copy, "ae")[point, 0].spec.settings
    assert record.spec.departures == (HOW,)
    assert record.content["ranked"]
    assert f",{HOW}," in (copy / "final" / "results.csv").read_text().replace('"', "")
    split = batches.split(N)
    index = load_evaluation(record.folder / "codes.npz").index
    assert np.isin(index, split.test).all()


PYTHON = {"models": "ae", "datasets": "images.npz", "protocol": "tiny.toml"}


def test_python_searches_selects_and_runs_as_the_command_does(copy, monkeypatch):
    monkeypatch.chdir(copy)
    before = {record.folder.name: record.content for record in runs.load_records(copy / "found")}
    rerun = db.run(**PYTHON, seeds=2, search=3, out="found", jobs=0)
    assert {run.spec.run_id: run.record.content for run in rerun} == before  # none was missing, none was done again
    path, (selected,) = db.select("found", "mse")
    assert path == Path("found", "selected", "mse.toml")
    (run,) = db.run(**PYTHON, seeds=[2], settings=path, out="final", jobs=0)
    assert run.spec.departures == (HOW,)
    assert run.spec.settings == loaded(copy, "ae")[selected.point, 0].spec.settings
    with pytest.raises(BenchError, match="had a part in selecting"):
        db.plan(**PYTHON, seeds=2, settings=str(path))
    with pytest.raises(BenchError, match=r"unknown criterion 'mes'\. Did you mean 'mse'"):
        db.select("found", "mes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": 0}, "--search 0 is no number of points"),
        ({"search": 2.5}, "--search 2.5 is no number of points"),
        ({"search": 2, "search_seed": -1}, "--search-seed -1 is no seed"),
        ({"search": 2, "sampler": "tep"}, "unknown sampler 'tep'. Did you mean 'tpe'"),
        ({"search": 2, "by": "mse"}, "--by goes with --sampler tpe"),
        ({"sampler": "tpe", "by": "mse"}, "give --search too"),
        ({"search": 2, "settings": "chosen.toml"}, "give one of them"),
    ],
)
def test_searches_in_python_that_cannot_be(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    with pytest.raises(BenchError, match=re.escape(message)):
        db.run(**PYTHON, seeds=1, jobs=0, **options)
    assert not (tmp_path / "results").exists()


def test_tuned_rows_are_ranked_within_their_kind(tmp_path):
    levels = {("ae", False): 0.1, ("ae", True): 0.2, ("qlae", False): 0.3, ("qlae", True): 0.4}
    tuned = Tuning(criterion="mse", budget=3, space_version=1)
    for (model, is_tuned), level in levels.items():
        for seed in range(3):
            run = records.spec(model, seed, tuned=tuned if is_tuned else None)
            records.write_run(tmp_path, run, {"dci.disentanglement": level + seed / 1000})
    report = write_report(tmp_path, figures=False)
    ranks = {(row.model, row.changed): row.rank for row in report.leaderboard.itertuples()}
    assert ranks == {("qlae", ""): 1, ("ae", ""): 2, ("qlae", HOW): 1, ("ae", HOW): 2}
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert f"| ae ({HOW}) |" in markdown.replace("\\", "")
    means = (tmp_path / "mean_ranks.csv").read_text().splitlines()
    assert len(means) == 3  # the baselines'


def test_a_failed_tuned_run_names_a_command_that_repeats_it(copy):
    spec = next(iter(loaded(copy, "ae").values())).spec
    assert runs.command(spec, copy / "found") == f"dbench worker {spec.run_id} --out {copy / 'found'}"


def test_the_figure_has_the_expected_best_of_the_points(copy):
    default, drawn_scores = 0.3, np.array([0.1, 0.5, 0.2, 0.9])
    for n in range(5):
        for higher, best in ((True, max), (False, min)):
            exact = np.mean([best(default, *sample) for sample in combinations(drawn_scores, n)] if n else default)
            assert expected_best(default, drawn_scores, higher)[n] == pytest.approx(exact)
    budget_figure = figure(copy / "found", "budget")
    values = {key: record.scores[0]["value"] for key, record in loaded(copy, "ae").items()}
    means = [np.mean([values[point, seed] for seed in (0, 1)]) for point in range(3)]
    (line,) = budget_figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), expected_best(means[0], means[1:], False))
    assert line.get_ydata()[-1] == min(means)


@pytest.mark.slow
def test_an_adaptive_search_resumes_its_study(folder, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    from disentangle_bench.runner import search as adaptive

    monkeypatch.setattr(adaptive, "ROUND", 2)
    write_inputs(tmp_path)
    arguments = [*SEARCH, *MODELS, "--seeds", "1", "--sampler", "tpe", "--by", "mse", "--metrics", "latents"]
    arguments[arguments.index("--search") + 1] = "5"
    update, calls = Trainer.update, []

    def killed(trainer):
        calls.append(trainer)
        if len(calls) == 11:  # in the second round
            raise KeyboardInterrupt
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", killed)
    assert in_process(arguments, {}, tmp_path).returncode == 130
    journal = (tmp_path / "found" / adaptive.JOURNAL).read_text()
    monkeypatch.setattr(Trainer, "update", update)
    result = in_process(arguments, {}, tmp_path)
    assert "2 finished, 3 skipped, 0 failed" in result.stdout, result.stderr
    point_records = loaded(tmp_path, "ae")
    assert sorted(point_records) == [(point, 0) for point in range(5)]
    assert all({row["metric"] for row in record.scores} == {"mse", "latents"} for record in point_records.values())
    assert {record.spec.search.sampler for record in point_records.values()} == {"tpe"}
    assert (tmp_path / "found" / adaptive.JOURNAL).read_text().startswith(journal)
    assert len(status.planned(tmp_path / "found")) == 5  # nothing was asked for twice
    (axis, *_) = figure(tmp_path / "found", "budget").axes
    values = [point_records[point, 0].scores[0]["value"] for point in range(5)]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), np.minimum.accumulate(values))
    _, (selected,) = selection.select(tmp_path / "found", "mse")
    assert selected.point == int(np.argmin(values))
    assert "budget 5 by tpe" in str(selected.tuned)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "mse", "--set", "model.weight_decay=1,2"], "--search decides model.weight_decay"),
        (["--by", "mse", "--set", "training.updates=1,2"], "takes one value of each --set"),
        (["--by", "mse", "--dry-run"], "without --grid, --dry-run and --rerun"),
        (["--by", "mse", "--rerun", "all"], "without --grid, --dry-run and --rerun"),
        (["--by", "mse", "--sampler", "random"], "--by goes with --sampler tpe"),
        ([], "give --by and a criterion"),
    ],
)
def test_adaptive_searches_that_cannot_be(tmp_path, options, message):
    pytest.importorskip("optuna")
    write_inputs(tmp_path)
    assert message in one_line(in_process([*SEARCH, *MODELS, "--sampler", "tpe", *options], {}, tmp_path))
    assert not (tmp_path / "found").exists()
