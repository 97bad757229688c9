"""Figures of ranks, improvement, settings and published numbers, the codebook's use, and moving traversals."""

import os
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from disentangle_bench.config.resolve import resolve
from disentangle_bench.report import published, results, write_report
from disentangle_bench.report.figures import ablations, comparisons, drawing, style
from disentangle_bench.report.figures import runs as runs_figures
from disentangle_bench.report.figures.table import Table
from disentangle_bench.report.labels import setup_names
from support import records as synthetic
from support.drawn import assert_all_text_is_inside

MODELS = ("qlae", "beta_tcvae", "factor_vae")


@pytest.fixture(autouse=True)
def _style():
    with style.style():
        yield


def read(folder):
    report_data = results.read_results(folder, None)
    return report_data, setup_names(report_data.board)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return synthetic.write_grid(tmp_path_factory.mktemp("grid"), MODELS, seeds=4, companions=False)


@pytest.fixture(scope="module")
def betas(tmp_path_factory):
    """A baseline with beta 1, and runs with beta 2, 4 and 30, of three seeds each."""
    out = synthetic.write_grid(tmp_path_factory.mktemp("betas"), ("beta_vae",), seeds=3, companions=False)
    for beta in (30.0, 4.0, 2.0):
        for seed in range(3):
            run = synthetic.spec("beta_vae", seed, settings={"latents": 10, "beta": beta}, changed=("model.beta",))
            synthetic.write_run(out, run, {"dci.disentanglement": beta / 100 + seed / 1000})
    return out


def bars(axis):
    """The horizontal bars of an axis, as (low, high, height)."""
    segments = [segment for lines in axis.collections for segment in lines.get_segments()]
    return sorted((line[0][0], line[1][0], line[0][1]) for line in segments)


def test_ranks_show_rank_and_interval_of_each_score_and_their_mean(grid):
    report_data, setups = read(grid)
    figure = comparisons.ranks_figure("title", report_data.board, report_data.means, setups)
    assert_all_text_is_inside(figure)
    drawn = [axis for axis in figure.axes if axis.axison]
    assert len(drawn) == 9
    assert drawn[0].get_title() == "mean rank over scores"
    order = [setup[0] for setup in setups]
    for axis, rows in (
        (drawn[0], report_data.means.assign(low=report_data.means["ci_low"], high=report_data.means["ci_high"])),
        (drawn[1], report_data.board.query("score == 'dci.disentanglement'").rename(
            columns={"rank_low": "low", "rank_high": "high"})),
    ):  # fmt: skip
        expected = sorted((row.low, row.high, order.index(row.model)) for row in rows.itertuples())
        assert np.array(bars(axis), dtype=float) == pytest.approx(np.array(expected, dtype=float))
    assert (
        comparisons.ranks_figure("title", report_data.board.query("model == 'qlae'"), report_data.means, setups) is None
    )
    assert comparisons.ranks_figure("title", report_data.board.assign(note="n<3"), report_data.means, setups) is None


def test_improvement_is_of_the_row_over_the_column(tmp_path):
    for seed in range(3):
        synthetic.write_run(tmp_path, synthetic.spec("a", seed), {"dci.x": 0.9, "mse.mse": 1.0, "latents.active": 3})
        synthetic.write_run(tmp_path, synthetic.spec("b", seed), {"dci.x": 0.1, "mse.mse": 1.0, "latents.active": 4})
    report_data, setups = read(tmp_path)
    board = report_data.board.copy()
    board.loc[board["metric"] == "latents", "direction"] = "none"
    figure = comparisons.improvement_figure("title", board, report_data.scores, setups)
    assert_all_text_is_inside(figure)
    second, first = (axis.collections[0].get_array() for axis in figure.axes)  # mse, a headline score, comes first
    assert (first[0, 1], first[1, 0], second[0, 1]) == (1, 0, 0.5)
    assert np.isnan(np.asarray(first.filled(np.nan))[0, 0])
    assert comparisons.improvement_figure("title", board.query("model == 'a'"), report_data.scores, setups) is None


def test_improvement_needs_three_seeds(tmp_path):
    for seed in range(2):
        synthetic.write_run(tmp_path, synthetic.spec("a", seed), {"dci.x": 0.9})
        synthetic.write_run(tmp_path, synthetic.spec("b", seed), {"dci.x": 0.1})
    report_data, setups = read(tmp_path)
    assert comparisons.improvement_figure("title", report_data.board, report_data.scores, setups) is None


def test_agreement_is_the_rank_correlation_over_runs_with_errors_turned(tmp_path):
    for seed, (one, two, error) in enumerate([(1, 10, 4), (2, 20, 3), (3, 40, 2), (4, 30, 1)]):
        synthetic.write_run(tmp_path, synthetic.spec("a", seed), {"dci.x": one, "dci.y": two, "mse.mse": error})
    report_data, setups = read(tmp_path)
    figure = comparisons.agreement_figure("title", report_data.board, report_data.scores, setups)
    assert_all_text_is_inside(figure)
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    matrix = np.asarray(figure.axes[0].collections[0].get_array())
    assert matrix[names.index("MSE"), names.index("DCI x")] == pytest.approx(1)
    assert matrix[names.index("DCI x"), names.index("DCI y")] == pytest.approx(0.8)
    few = report_data.scores[report_data.scores["seed"] < 3]
    assert comparisons.agreement_figure("title", report_data.board, few, setups) is None


def test_improvement_has_its_numbers_in_the_cells_or_where_they_would_be_too_small_a_colour_bar(tmp_path):
    for index in range(9):
        for seed in range(3):
            synthetic.write_run(tmp_path, synthetic.spec(f"model_{index}", seed), {"dci.x": index / 10})
    report_data, setups = read(tmp_path)
    wide = comparisons.improvement_figure("title", report_data.board, report_data.scores, setups)
    assert_all_text_is_inside(wide)
    matrix, bar = wide.axes
    assert not len(matrix.texts)
    assert bar.get_xlim() == (0, 1)
    assert bar.get_xlabel() == "P(a run of the row's model is better than one of the column's)"
    eight = report_data.board.query("model != 'model_8'")
    (matrix,) = comparisons.improvement_figure("title", eight, report_data.scores, setups).axes
    assert sorted(text.get_text() for text in matrix.texts) == ["0.00"] * 28 + ["1.00"] * 28


def test_runs_that_differ_by_one_setting_are_a_series_with_the_baseline(betas):
    report_data, _ = read(betas)
    by_setup = {}
    for setup, rows in report_data.scores.groupby(["model", "model_version", "changed", "settings"]):
        by_setup[setup] = [record for record in report_data.records if record.folder.name in set(rows["run_id"])]
    (one,) = ablations.varied_settings(by_setup)
    assert (one.name, one.key, one.values) == ("beta_vae", "model.beta", (1.0, 2.0, 4.0, 30.0))
    figure = ablations.settings_figure("title", one, report_data.board, report_data.scores)
    assert_all_text_is_inside(figure)
    axis = figure.axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), one.values)
    assert axis.lines[0].get_ydata()[1:] == pytest.approx([0.021, 0.041, 0.301])
    assert axis.get_xscale() == "log"


def changed(model="m", settings=None, keys=(), version=1):
    run = synthetic.spec(model, settings=settings, changed=keys, model_version=version)
    text = " ".join(f"{key}={settings[key.partition('.')[2]]}" for key in keys)
    return (model, version, text, run.digest[:10]), [type("Record", (), {"spec": run})]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([({"a": 1}, ()), ({"a": 2}, ("model.a",))], [("model.a", (1, 2))]),
        ([({"a": 2}, ("model.a",))], []),
        ([({"a": 1}, ()), ({"a": 1, "b": 2}, ("model.b",))], []),
        ([({"a": "x"}, ("model.a",)), ({"a": "y"}, ("model.a",))], [("model.a", ("x", "y"))]),
        # Two keys were changed: of those that share one, the other varies.
        ([({"a": a, "b": b}, ("model.a", "model.b")) for a, b in ((1, 1), (2, 1), (3, 2))], [("model.a", (1, 2))]),
        # A value set to what it is anyway is the baseline.
        ([({"a": 1}, ()), ({"a": 1}, ("model.a",)), ({"a": 2}, ("model.a",))], [("model.a", (1, 2))]),
    ],
)
def test_series(runs, expected):
    series = ablations.varied_settings(dict(changed(settings=settings, keys=keys) for settings, keys in runs))
    assert [(one.key, one.values) for one in series] == expected


def test_runs_as_the_command_marks_them_are_a_series():
    """Specs of real runs have ``key=value`` in ``changed``."""
    specs = [
        resolve("fsq", "rooms3d", "cpu", 0, words).spec for words in ([], ["model.symbols=5"], ["model.symbols=8"])
    ]
    runs = {("fsq", 1, " ".join(spec.changed), spec.digest): [type("Record", (), {"spec": spec})] for spec in specs}
    (one,) = ablations.varied_settings(runs)
    assert (one.key, one.values, one.positions) == ("model.symbols", (5, 8, 12), (5, 8, 12))


def test_correlations_are_in_the_order_of_their_strength(tmp_path):
    for seed in range(3):
        for text in ("none", "single_1", "floor_hue:wall_hue:0.4"):
            changes = [] if text == "none" else [f"data.correlation={text}"]
            run = resolve("fsq", "rooms3d", "cpu", seed, changes).spec
            synthetic.write_run(tmp_path, run, {"dci.disentanglement": 0.5 + seed / 10})
    report_data, _ = read(tmp_path)
    by_setup = {}
    for setup, rows in report_data.scores.groupby(["model", "model_version", "changed", "settings"]):
        by_setup[setup] = [record for record in report_data.records if record.folder.name in set(rows["run_id"])]
    (one,) = ablations.varied_settings(by_setup)
    assert one.values == ("none", "floor_hue:wall_hue:0.4", "single_1")
    assert one.positions == pytest.approx([0, 0.135, 1.0], abs=0.2)
    assert one.positions[0] == 0 < one.positions[1] < one.positions[2]
    figure = ablations.settings_figure("title", one, report_data.board, report_data.scores)
    assert_all_text_is_inside(figure)
    assert "total correlation of the factors, nats" in figure.get_supxlabel()
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), one.positions)


def test_versions_of_a_model_are_no_series():
    runs = [changed(settings={"a": 1}), changed(settings={"a": 2}, keys=("model.a",), version=2)]
    assert ablations.varied_settings(dict(runs)) == []


def test_published_marks_second_hand_numbers(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae", "beta_vae"), seeds=3, companions=False, dataset="shapes3d")
    report_data, _ = read(tmp_path)
    figure = comparisons.published_figure("title", report_data.comparison)
    assert_all_text_is_inside(figure)
    axis = next(axis for axis in figure.axes if axis.get_title() == "DCI disentanglement")
    marks = [line for line in axis.lines if line.get_marker() == "D" and len(line.get_xdata())]
    hollow = sorted(line.get_xdata()[0] for line in marks if line.get_markerfacecolor() == "white")
    full = sorted(line.get_xdata()[0] for line in marks if line.get_markerfacecolor() != "white")
    rows = report_data.comparison[report_data.comparison["score"] == "dci.disentanglement"]
    assert hollow == sorted(rows["published_mean"][rows["provenance"] == published.SECOND_HAND])
    assert full == sorted(rows["published_mean"][rows["provenance"] != published.SECOND_HAND])
    assert hollow
    assert full
    assert comparisons.published_figure("title", report_data.comparison[:0]) is None


def test_codebook_use_by_hand():
    # Latent 0 uses two symbols equally (perplexity 2), latent 1 only symbol 3.
    indices = np.array([[0, 3], [1, 3], [0, 3], [1, 3]])
    figure = runs_figures.codebook_figure("title", indices, {"infomec.active": np.array([True, False])})
    assert_all_text_is_inside(figure)
    np.testing.assert_allclose(figure.axes[0].collections[0].get_array() ** 2, [[0.5, 0.5, 0, 0], [0, 0, 0, 1]])
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["latent 0, perplexity 2.0", "latent 1, perplexity 1.0 (inactive)"]
    assert figure.axes[0].get_xlabel() == "symbol (of 4, 3 are used by some latent)"
    with pytest.raises(ValueError, match="no symbols"):
        runs_figures.codebook_figure("title", indices - 1, {})


def test_codebook_is_drawn_for_quantised_models_only(tmp_path):
    for model, arrays in (("qlae", {"indices": np.zeros((5, 10), int)}), ("beta_vae", {})):
        folder = synthetic.write_run(tmp_path, synthetic.spec(model))
        np.savez(folder / "codes.npz", codes=np.zeros((5, 10)), **arrays)
    report = write_report(tmp_path)
    assert {path.stem for path in report.paths if "codebook" in path.stem} == {"qlae-codebook"}


def test_animation_moves_every_latent_and_names_it(tmp_path):
    pictures = {"traversals": np.zeros((7, 4, 8, 8, 3), np.uint8)}
    pictures["traversals"][5, 2] = 200
    frames = runs_figures.traversal_frames(pictures, {"infomec.active": np.arange(7) != 3})
    # 4 steps up and 2 down again; two rows of up to 5, each image enlarged to 96 pixels.
    assert len(frames) == 4 + 2
    assert frames[0].size == (5 * 100 - 4, 2 * (96 + runs_figures.CAPTION + 4) - 4)
    pixels = np.stack([np.asarray(frame) for frame in frames])
    sixth = pixels[:, runs_figures.CAPTION * 2 + 100 + 20, 48]
    assert (sixth[:, 0] == [0, 0, 200, 0, 200, 0]).all()
    (path,) = runs_figures.save_gif(frames, tmp_path / "x.gif")
    with Image.open(path) as image:
        assert image.is_animated
        assert image.info["loop"] == 0
    grey = {"traversals": np.zeros((2, 3, 64, 64, 1), np.uint8)}
    assert runs_figures.traversal_frames(grey, {})[0].mode == "RGB"


@pytest.mark.slow
def test_many_tables_are_drawn_by_several_processes_alike(tmp_path, monkeypatch):
    for dataset in ("rooms3d", "shapes3d"):
        folder = synthetic.write_run(tmp_path, synthetic.spec("qlae", dataset=dataset), {"dci.x": 0.5})
        synthetic.write_pictures(folder, latents=3)
    reports = []
    monkeypatch.setattr(drawing, "SETUPS_PER_PROCESS", 1)
    for cores in (1, 2):
        monkeypatch.setattr(drawing, "available", lambda cores=cores: cores)
        messages = []
        report = write_report(tmp_path, progress=messages.append)
        reports.append(({path: path.read_bytes() for path in report.paths}, report.notes))
        assert [line for line in messages if line.startswith("figure ")]
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_what_goes_wrong_in_another_process_is_not_lost(grid, tmp_path):
    report_data, _ = read(grid)
    frames = {"board": report_data.board, "scores": pd.DataFrame({"x": [1]}), "means": report_data.means}
    broken = Table("title", tmp_path, **frames, comparison=report_data.comparison, records={})
    with pytest.raises(RuntimeError, match="drawing failed"):
        drawing._draw_elsewhere([drawing._packed(broken)], (0, 1), lambda line: None)


@pytest.mark.thorough
@pytest.mark.timing
def test_600_records_with_all_figures_and_the_page(tmp_path):
    """Under 60 s on an idle machine of two cores; where others compute, their share is allowed for."""
    for dataset in ("rooms3d", "shapes3d", "dsprites", "cars3d", "mpi3d_real"):
        synthetic.write_grid(tmp_path, seeds=20, dataset=dataset)
        for index, folder in enumerate((tmp_path / "runs").glob(f"{dataset}-*")):
            synthetic.write_pictures(folder, index)
    began = time.monotonic()
    report = write_report(tmp_path, html=tmp_path / "report.html")
    wall = time.monotonic() - began
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert wall < 60 * crowd, (wall, crowd)
    assert (tmp_path / "report.html").stat().st_size < 15e6
    assert len([path for path in report.paths if path.suffix == ".pdf"]) == 5 * (7 + 6 * 3) + 3
