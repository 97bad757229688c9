"""What the figures show, and that all of it can be seen."""

import math
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from disentangle_bench import report
from disentangle_bench.errors import BenchError
from disentangle_bench.report import labels, leaderboard, write_report
from disentangle_bench.report.figures import runs as runs_figures
from disentangle_bench.report.figures import scores as scores_figures
from disentangle_bench.report.figures import style
from disentangle_bench.report.scores import score_table
from disentangle_bench.spec import EXTERNAL
from disentangle_bench.store.runs import load_records
from support import records as synthetic
from support.drawn import assert_all_text_is_inside


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Four seeds of two models and one long-named run off the protocol."""
    folder = synthetic.write_grid(tmp_path_factory.mktemp("results"), ("qlae", "factor_vae"), seeds=4)
    long = synthetic.spec("a_model_with_quite_a_long_name_indeed", 0, settings={"beta": 1.5}, changed=("model.beta",))
    synthetic.write_run(folder, long)
    return folder


@pytest.fixture(scope="module")
def drawn(out):
    """Scores, leaderboard and setups of ``out``."""
    scores = score_table(load_records(out))
    board = leaderboard.leaderboard(scores)
    return scores, board, labels.setup_names(board)


@pytest.fixture(autouse=True)
def _style():
    with style.style():
        yield


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def run_files(out, model="qlae"):
    folder = out / "runs" / synthetic.spec(model).run_id
    return arrays(folder / "pictures.npz"), arrays(folder / "matrices.npz")


def test_scores_show_every_seed_and_the_interval(drawn):
    scores, board, setups = drawn
    figure = scores_figures.scores_figure("title", board, scores, setups)
    assert_all_text_is_inside(figure)
    assert [axis.get_title().replace("\n", " ").split("\xa0")[0].removesuffix(" (dB)") for axis in figure.axes] == [
        labels.score_title(name) for name in labels.HEADLINE
    ]
    kinds = labels.score_names(board)
    for axis, kind in zip(figure.axes, kinds, strict=True):
        bars = iter(line for line in axis.lines if len(line.get_xdata()) == 2)
        for row, (setup, points) in enumerate(zip(setups, axis.collections, strict=True)):
            mask = (scores["score"] == kind[1]) & (scores["settings"] == setup[3])
            assert sorted(points.get_offsets()[:, 0]) == pytest.approx(sorted(scores["value"][mask]))
            assert np.abs(points.get_offsets()[:, 1] - row).max() < 0.5
            if mask.sum() > 1:
                summary = board[(board["score"] == kind[1]) & (board["settings"] == setup[3])].iloc[0]
                assert list(next(bars).get_xdata()) == pytest.approx([summary.ci_low, summary.ci_high])


def test_errors_have_a_logarithmic_axis_and_scores_have_not(drawn):
    scores, board, setups = drawn
    figure = scores_figures.scores_figure("title", board, scores, setups)
    axes = {axis.get_title().split("\xa0")[0]: axis for axis in figure.axes}
    assert axes["MSE"].get_xscale() == "log"
    assert axes["DCI disentanglement"].get_xscale() == "linear"


def test_profile_is_the_share_of_runs_at_least_that_good(drawn):
    scores, board, setups = drawn
    figure = scores_figures.profile_figure("title", board, scores, setups)
    assert_all_text_is_inside(figure)
    line = figure.axes[0].lines[list(setups).index(next(setup for setup in setups if setup[0] == "qlae"))]
    values = sorted(scores.query("model == 'qlae' and score == 'dci.disentanglement'")["value"])
    np.testing.assert_allclose(line.get_xdata()[1:], values)
    np.testing.assert_allclose(line.get_ydata(), [1, 0.75, 0.5, 0.25, 0])
    single = scores[scores["seed"] == 0]
    assert scores_figures.profile_figure("title", leaderboard.leaderboard(single), single, setups) is None


def test_latents_are_the_two_that_know_most_of_each_factor():
    factors = np.array([[0, 1], [1, 0], [2, 1], [3, 0]])
    codes = np.stack([np.zeros(4), factors[:, 0], factors[:, 1] + 0.5], axis=1)
    figure = runs_figures.latents_figure(
        "title", codes, factors, {"infomec.nmi": [[0, 1, 0.2], [0.1, 0, 1]]}, ["a", "b"]
    )
    assert_all_text_is_inside(figure)
    assert [(axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes] == [
        ("a", "latent 1", "latent 2"), ("b", "latent 2", "latent 0")]  # fmt: skip
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_offsets(), codes[:, [1, 2]])
    with pytest.raises(ValueError, match="not of the same"):
        runs_figures.latents_figure("title", codes[:3], factors, {"infomec.nmi": np.ones((2, 3))}, ["a", "b"])


@pytest.mark.slow
def test_long_names_of_scores_and_models_do_not_collide(tmp_path):
    long = [f"a_metric_with_a_long_name.a_score_with_a_long_name_{index}" for index in range(9)]
    for model in ("an_extraordinarily_long_name_for_a_model_that_goes_on_and_on_and_on_until_nobody_reads_it", "b"):
        synthetic.write_run(tmp_path, synthetic.spec(model), {name: 0.5 for name in [*long, "mse.mse"]})
    scores = score_table(load_records(tmp_path))
    board = leaderboard.leaderboard(scores)
    for figure in (scores_figures.scores_figure, scores_figures.reconstruction_figure):
        assert_all_text_is_inside(figure("title", board, scores, labels.setup_names(board)))


def test_scores_say_what_is_undefined_or_was_not_scored(tmp_path):
    synthetic.write_run(tmp_path, synthetic.spec("a"), {"dci.disentanglement": None, "mse.mse": 0.1})
    synthetic.write_run(tmp_path, synthetic.spec("b"), {"dci.disentanglement": 0.5})
    scores = score_table(load_records(tmp_path))
    board = leaderboard.leaderboard(scores)
    figure = scores_figures.scores_figure("title", board, scores, labels.setup_names(board))
    assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [["undefined"], ["no score"]]


def test_reconstruction_pairs_the_scores_of_one_seed(drawn):
    scores, board, setups = drawn
    figure = scores_figures.reconstruction_figure("title", board, scores, setups)
    assert_all_text_is_inside(figure)
    assert len(figure.axes) == 6
    wide = scores[scores["model"] == "qlae"].pivot(index="seed", columns="score", values="value")
    setup = next(setup for setup in setups if setup[0] == "qlae")
    points = [item for item in figure.axes[0].collections if len(item.get_offsets()) > 0 and item.get_label() != ""]
    offsets = next(
        item.get_offsets()
        for item in points
        if len(item.get_offsets()) == 4
        and matplotlib.colors.same_color(item.get_facecolor()[0][:3], style.looks(setups)[setup].color)
    )
    np.testing.assert_allclose(offsets, wide[["mse.mse", "dci.disentanglement"]].to_numpy())
    without = scores[scores["metric"] != "mse"]
    assert scores_figures.reconstruction_figure("title", leaderboard.leaderboard(without), without, setups) is None


def test_training_shows_mean_and_band_of_each_column(drawn):
    setup = next(iter(drawn[2]))
    runs = [
        pd.DataFrame({"step": [0, 10, 20], "learning_rate": 1.0, "loss": losses}) for losses in ([1, 2, 6], [3, 2, 0])
    ]
    runs[1]["tc"] = -1.0
    figure = scores_figures.training_figure("title", {setup: runs}, {setup: "qlae"})
    assert_all_text_is_inside(figure)
    assert [axis.get_title() for axis in figure.axes if axis.axison] == ["loss", "tc"]
    axis = figure.axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [2, 2, 3])
    band = axis.collections[0].get_paths()[0].vertices
    assert {(10.0, 2.0), (20.0, 0.0), (20.0, 6.0)} <= {tuple(point) for point in band}
    assert scores_figures.training_figure("title", {setup: []}, {setup: "qlae"}) is None


def test_training_of_a_real_grid_fits(out, drawn):
    histories = {}
    for setup in drawn[2]:
        folders = [out / "runs" / synthetic.spec(setup[0], seed).run_id for seed in range(4)]
        histories[setup] = [pd.read_csv(path / "history.csv") for path in folders if (path / "history.csv").exists()]
    figure = scores_figures.training_figure("title", histories, drawn[2])
    assert_all_text_is_inside(figure)
    assert figure.axes[0].get_title() == "mse"
    assert figure.axes[0].get_yscale() == "log"


def test_traversals_name_inactive_latents(out):
    pictures, matrices = run_files(out)
    figure = runs_figures.traversals_figure("title", pictures, matrices)
    assert_all_text_is_inside(figure)
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names[7:] == ["latent 7", "latent 8\n(inactive)", "latent 9\n(inactive)"]
    assert figure.axes[0].get_yticklabels()[8].get_color() == runs_figures.INACTIVE
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(image[66 * 3 : 66 * 3 + 64, 66 * 5 : 66 * 5 + 64], pictures["traversals"][3, 5])
    texts = runs_figures.traversals_figure("title", pictures, {}).axes[0].get_yticklabels()
    assert not any("inactive" in tick.get_text() for tick in texts)


def test_reconstructions_stand_below_their_originals(out):
    pictures, _ = run_files(out)
    figure = runs_figures.reconstructions_figure("title", pictures)
    assert_all_text_is_inside(figure)
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(image[:64, 66:130], pictures["originals"][1])
    np.testing.assert_array_equal(image[66:, 66:130], pictures["reconstructions"][1])


def test_matrices_have_factors_as_rows_and_inactive_latents_hatched(out):
    _, matrices = run_files(out)
    figure = runs_figures.matrices_figure("title", matrices, synthetic.FACTORS)
    assert_all_text_is_inside(figure)
    nmi, importance = figure.axes[:2]
    np.testing.assert_array_equal(nmi.collections[0].get_array()[:, :8], matrices["infomec.nmi"][:, :8])
    np.testing.assert_array_equal(importance.collections[0].get_array()[:, :8], matrices["dci.importance"].T[:, :8])
    assert nmi.collections[0].get_array().mask[:, 8:].all()
    assert [tick.get_text() for tick in nmi.get_yticklabels()] == list(synthetic.FACTORS)
    hatched = [patch.get_x() for patch in nmi.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert hatched == [8, 9]
    with pytest.raises(ValueError, match="neither"):
        runs_figures.matrices_figure("title", {}, synthetic.FACTORS)


def test_grey_images_are_drawn_and_others_are_an_error():
    grey = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4, 1)
    sheet = runs_figures.tile(grey)
    assert sheet.shape == (2 * 6 - 2, 3 * 6 - 2, 3)
    np.testing.assert_array_equal(sheet[6:, 12:], np.repeat(grey[1, 2], 3, axis=2))
    assert (sheet[4:6] == 255).all()
    with pytest.raises(ValueError, match="2 channels"):
        runs_figures.tile(np.zeros((1, 1, 4, 4, 2), dtype=np.uint8))


@pytest.mark.thorough
def test_files_are_whole_and_settings_are_put_back(out):
    before = dict(matplotlib.rcParams)
    report = write_report(out)
    assert dict(matplotlib.rcParams) == before
    figures = [path for path in report.paths if "figures" in path.parts]
    assert len(figures) == 2 * (7 + 2 * 3) + 2
    for path in figures:
        if path.suffix == ".gif":
            continue
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()
                assert image.size[0] > 600
        else:
            assert path.read_bytes().startswith(b"%PDF")
            assert b"CreationDate" not in path.read_bytes()
    assert {path.parent.name for path in figures} == {"rooms3d-cpu"}
    assert all("a_model_with_quite_a_long_name_indeed" in note for note in report.notes)
    assert {note.split(" for ")[0] for note in report.notes} == {
        f"rooms3d, cpu: no {file}" for file in ("history.csv", "matrices.npz", "pictures.npz")
    }


@pytest.mark.thorough
def test_damaged_companions_cost_their_figure_only(tmp_path):
    folders = [synthetic.write_run(tmp_path, synthetic.spec("qlae", seed)) for seed in range(2)]
    (folders[0] / "history.csv").write_text("nonsense\n1\n")
    (folders[0] / "matrices.npz").write_bytes(b"PK broken")
    np.savez(folders[0] / "pictures.npz", traversals=np.zeros((2, 2, 4, 4, 7), np.uint8), originals=np.array([None]))
    synthetic.write_history(folders[1], "qlae", 1)
    synthetic.write_matrices(folders[1])
    report = write_report(tmp_path)
    stems = {path.stem for path in report.paths if path.suffix == ".png"}
    assert stems == {"scores", "reconstruction", "profile", "training", "qlae-matrices"}
    notes = "\n".join(report.notes)
    for expected in ("history.csv cannot be read", "matrices.npz cannot be read", "pictures.npz cannot be read"):
        assert expected in notes


def test_files_that_a_run_cannot_have_are_not_missed(tmp_path):
    """Metrics without matrices, and codes from elsewhere, which come without a history and pictures."""
    for model, changed in (("qlae", ()), ("mine", (EXTERNAL,))):
        folder = synthetic.write_run(tmp_path, synthetic.spec(model, changed=changed), {"mig.score": 0.5})
        np.savez(folder / "matrices.npz", **{"mig.gaps": np.zeros(6)})
        if not changed:
            synthetic.write_history(folder, model, 0)
            synthetic.write_pictures(folder)
    assert write_report(tmp_path).notes == ()


@pytest.mark.slow
def test_a_figure_holds_a_limited_number_of_setups(tmp_path):
    for beta in range(30):
        synthetic.write_run(
            tmp_path, synthetic.spec("qlae", settings={"beta": float(beta)}, changed=("model.beta",)), {"mse.mse": 0.5}
        )
    report = write_report(tmp_path)
    assert len(report.leaderboard) == 30
    assert "6 of 30 setups are in no figure" in report.notes[0]


@pytest.mark.parametrize(
    ("title", "expected"),
    [("beta_vae", "beta_vae"), ("a/b", "a_b-"), ("../x", "x-"), ("..", "x-"), ("", "x-"), ("A b", "A_b-")],
)
def test_file_names_are_safe_and_never_collide(title, expected):
    name = labels.file_name(title)
    assert name == expected or (expected.endswith("-") and name.startswith(expected) and len(name) == len(expected) + 6)
    assert labels.file_name("a b") != labels.file_name("a/b")


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(0.9, 3), (1.0, 3), (25.3, 1), (0.0052, 5), (1234.0, 0), (0.0, 3), (math.nan, 3), (6.0, 2)],
)
def test_three_significant_digits(largest, expected):
    assert labels.decimals(largest) == expected


def test_ranges():
    assert labels.ranges([5, 0, 1, 2, 1]) == "0-2, 5"


def test_settings_sort_by_number():
    rows = pd.DataFrame(
        {"model": "m", "model_version": 1, "changed": ["b=10.0", "b=9.0", ""], "settings": ["x", "y", "z"]}
    )
    assert list(labels.setup_names(rows).values()) == ["m", "m (b=9.0)", "m (b=10.0)"]


def test_settings_that_all_setups_share_are_said_once():
    rows = pd.DataFrame(
        {
            "model": ["m", "m", "n"],
            "model_version": 1,
            "changed": ["b=1 c=2", "c=2", "c=2 b=1"],
            "settings": list("xyz"),
        }
    )
    assert labels.shared_settings(rows) == ("c=2",)
    assert list(labels.setup_names(rows, ("c=2",)).values()) == ["m (b=1)", "m", "n (b=1)"]
    assert labels.shared_settings(rows[:1]) == ()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        flip,
        *(
            pytest.param(damage, marks=pytest.mark.thorough)
            for damage in (
                lambda path: path.write_bytes(b""),
                lambda path: path.unlink() or os.mkfifo(path),
                lambda path: path.unlink() or path.mkdir(),
                lambda path: np.savez(path, traversals=np.float64(3)),
            )
        ),
    ],
)
def test_odd_companions_are_named_and_the_report_goes_on(tmp_path, damage):
    folder = synthetic.write_run(tmp_path, synthetic.spec("qlae"))
    synthetic.write_matrices(folder)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32, 3), dtype=np.uint8)
    path = folder / "pictures.npz"
    np.savez_compressed(path, traversals=pictures, originals=pictures[:, 0], reconstructions=pictures[:, 1])
    damage(path)
    report = write_report(tmp_path, html=tmp_path / "x.html")
    assert "qlae-matrices" in {path.stem for path in report.paths}
    assert any("pictures.npz" in note or "traversals was not drawn" in note for note in report.notes)


def test_one_figure_is_a_matplotlib_object(out):
    figure = report.figure(out, "scores", dataset="rooms3d")
    assert figure.axes[0].get_title().startswith("DCI disentanglement")
    assert report.figure(out, "qlae-matrices").axes
    with pytest.raises(BenchError, match=r"unknown figure 'score'.*Did you mean 'scores'"):
        report.figure(out, "score")
    with pytest.raises(BenchError, match="unknown figure"):
        report.figure(out, "scores", dataset="nothing")


@pytest.mark.thorough
def test_a_notebooks_backend_and_the_users_settings_do_not_matter(tmp_path):
    synthetic.write_run(tmp_path, synthetic.spec("qlae"), {"dci.disentanglement": 0.5})
    settings = tmp_path / "matplotlibrc"
    settings.write_text("text.usetex: True\nfont.size: 40\n")
    environment = os.environ | {"MPLBACKEND": "module://no_such_backend", "MATPLOTLIBRC": str(settings)}
    code = f"from disentangle_bench.report import write_report; print(len(write_report({str(tmp_path)!r}).paths))"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    plain = (tmp_path / "figures" / "rooms3d-cpu" / "scores.png").read_bytes()
    write_report(tmp_path)
    assert (tmp_path / "figures" / "rooms3d-cpu" / "scores.png").read_bytes() == plain
