"""Results in Python: runs, scores, and trained models that give the stored codes to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import disentangle_bench as db
from disentangle_bench.registry import MODELS
from disentangle_bench.training.batches import evaluation_sample
from support import records as synthetic

FEW = {
    "protocol": "smoke",
    "changes": {
        "training.updates": 2,
        "training.batch_size": 4,
        "scoring.train_images": 60,
        "scoring.test_images": 30,
    },
    "devices": "cpu",
    "jobs": 0,
}


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A file with 300 colour images of a bright square each, at 10 rows, 10 columns and 3 levels of grey."""
    factors = np.ascontiguousarray(np.indices((10, 10, 3)).reshape(3, -1).T)
    images = np.zeros((len(factors), 64, 64, 3), np.uint8)
    for image, (row, column, grey) in zip(images, factors, strict=True):
        image[5 * row : 5 * row + 16, 5 * column : 5 * column + 16] = 100 + 70 * grey
    path = tmp_path_factory.mktemp("data") / "squares.npz"
    np.savez(path, images=images, factors=factors)
    return str(path)


@pytest.fixture(scope="module")
def results(squares, tmp_path_factory):
    """Two updates of each of the built-in models, scored on few images, made by Python in this process."""
    out = tmp_path_factory.mktemp("every") / "results"
    return db.run("every", squares, seeds=[0], out=out, **FEW)


def test_run_gives_all_that_was_asked_for(results):
    assert len(results) == len(MODELS.names("every"))
    assert results.failures == {}
    assert {run.spec.model for run in results} == set(db.list_models("every"))
    assert len(db.load(results.folder)) == len(MODELS.names("every"))


@pytest.mark.parametrize("name", db.list_models("every"))
def test_a_loaded_model_encodes_to_the_stored_codes(results, name):
    run = results[name, 0]
    dataset = run.dataset()
    index, _ = evaluation_sample(run.spec, len(dataset))
    codes, stored_codes = run.model().encode(dataset.images(index)), run.codes()
    assert codes.values.tobytes() == stored_codes.values.tobytes()
    assert (codes.indices is None) == (stored_codes.indices is None)
    if codes.indices is not None:
        np.testing.assert_array_equal(codes.indices, stored_codes.indices)


@pytest.mark.parametrize("name", ["beta_vae", "factor_qvae"])
def test_a_loaded_model_reconstructs_and_traverses(results, name):
    run = results[name]
    model, images = run.model(), run.dataset().images(np.arange(3))
    decoded = model.decode(model.encode(images))
    assert decoded.shape == images.shape
    assert decoded.dtype == np.uint8
    traversal = model.traverse(images[0], 2, steps=5)
    assert traversal.shape == (5, 64, 64, 3)
    with np.load(run.folder / "pictures.npz") as file:
        reconstructions = file["reconstructions"]
    codes = run.codes()
    rows = db.Codes(codes.values[:8], None if codes.indices is None else codes.indices[:8])
    np.testing.assert_array_equal(model.decode(rows), reconstructions)


def test_wrong_images_and_codes_are_named(results):
    model = results["qlae", 0].model()
    with pytest.raises(db.BenchError, match=r"takes uint8 \[n, 64, 64, 3\]"):
        model.encode(np.zeros((2, 3, 64, 64), np.uint8))
    with pytest.raises(db.BenchError, match="float64"):
        model.encode(np.zeros((2, 64, 64, 3)))
    with pytest.raises(db.BenchError, match="latents are symbols"):
        model.decode(np.zeros((1, 6)))
    with pytest.raises(db.BenchError, match=r"takes \[n, 6\]"):
        model.decode(np.zeros((1, 5)))
    with pytest.raises(db.BenchError, match="there is no latent 6"):
        model.traverse(np.zeros((64, 64, 3), np.uint8), 6)


def test_a_run_has_scores_history_and_evaluation(squares, results):
    run = results[squares, "qlae", 0]
    assert set(run.scores) >= {"dci.disentanglement", "infomec.modularity", "mse.mse"}
    table = results.table()
    rows = table[(table["model"] == "qlae") & (table["score"] == "mse.mse")]
    assert run.scores["mse.mse"] == rows["value"].item()
    assert list(run.history["step"]) == [1, 2]
    evaluation = run.evaluation()
    assert evaluation.factors.shape == (len(run.codes().values), 3)
    assert "mse.mse" in repr(run)
    assert "dci.disentanglement" in run._repr_html_()


def test_no_or_several_fitting_runs_are_named(results):
    with pytest.raises(db.BenchError, match=f"{len(MODELS.names('every'))} runs fit 0"):
        results[0]
    with pytest.raises(db.BenchError, match="no run fits 'qlae', 7"):
        results["qlae", 7]


def test_tables_and_report(results):
    board = results.leaderboard(["dci"])
    assert set(board["metric"]) == {"dci"}
    assert set(board["model"]) == set(db.list_models("every"))
    assert "<table" in results._repr_html_()
    report = db.report(results.folder, html=True, figures=False, formats=["csv"])
    assert results.folder / "report.html" in report.paths
    assert "QLAE" in report._repr_html_()


def test_a_finished_run_is_not_done_again(squares, results):
    record = results["ae", 0].folder / "record.json"
    before = record.stat().st_mtime_ns
    rerun = db.run(["ae"], [squares], seeds="0-0", out=results.folder, **FEW)
    assert len(rerun) == len(MODELS.names("every"))
    assert record.stat().st_mtime_ns == before


def test_scores_of_ones_own_codes():
    factors = np.random.default_rng(0).integers(0, [4, 3, 5], size=(300, 3))
    scores = db.score(factors[:, [2, 0, 1]], factors, metrics=["mig", "sap"])
    assert list(scores) == ["mig", "sap"]
    assert scores["mig"].score > 0.8
    with pytest.raises(db.BenchError, match=r"unknown metric 'mgi'\. Did you mean 'mig'"):
        db.score(factors, factors, metrics="mgi")


def test_show_and_resources():
    table = db.show("factor_qvae", "rooms3d", "cpu", {"model.gamma": 0.5})
    assert table.loc["model.gamma", "value"] == 0.5
    assert table.loc["model.gamma", "source"] == "--set"
    with pytest.raises(db.BenchError, match="there is no setting 'device'"):
        db.run("ae", "rooms3d", protocol="smoke", seeds=1, device="cpu")


def test_a_damaged_failure_is_still_listed(tmp_path):
    synthetic.write_run(tmp_path, synthetic.spec("qlae"))
    failed = synthetic.spec("vq_vae")
    path = synthetic.write_failure(tmp_path, failed, "it diverged") / "failed.json"
    assert db.load(tmp_path).failures == {failed.run_id: "it diverged"}
    path.write_text("{", encoding="utf-8")
    assert db.load(tmp_path).failures == {failed.run_id: "failed.json cannot be read"}
    assert "1 failed" in repr(db.load(tmp_path))
