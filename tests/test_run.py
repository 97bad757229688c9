"""Whole runs: records, repeatability to the bit, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from disentangle_bench import store
from disentangle_bench.evaluate import load_evaluation, score
from disentangle_bench.registry import MODELS
from disentangle_bench.spec import RunSpec

RUN = [sys.executable, "-m", "disentangle_bench", "run", "--datasets", "rooms3d", "--seeds", "1", "--protocol", "smoke"]


def contents(out):
    """Scores, weights, codes and history of every run, by run id."""
    found = {}
    for folder in sorted((out / "runs").iterdir()):
        record = json.loads((folder / "record.json").read_text())
        weights = {name: array.tobytes() for name, array in load_file(folder / "model.safetensors").items()}
        with np.load(folder / "codes.npz", allow_pickle=False) as file:
            codes = {name: file[name].tobytes() for name in file.files}
        found[folder.name] = (record["scores"], weights, codes, (folder / "history.csv").read_text())
    return found


def test_the_same_grid_again_with_other_jobs_gives_the_same_bits(smoke_grid, tmp_path):
    """One process after another instead of two at a time, in another folder."""
    out, _ = smoke_grid
    subprocess.run(
        [*RUN, "--models", "all", "--jobs", "1", "--out", str(tmp_path / "again")], check=True, capture_output=True
    )
    first, second = contents(out), contents(tmp_path / "again")
    assert len(first) == 6
    assert first == second


def test_a_run_folder_has_all_that_is_needed(smoke_grid):
    out, _ = smoke_grid
    for folder in (out / "runs").iterdir():
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "spec.json", "record.json", "history.csv", "codes.npz", "matrices.npz", "pictures.npz", "model.safetensors",
        }  # fmt: skip


@pytest.mark.parametrize("model", MODELS.names("all"))
def test_records_say_what_was_done(smoke_grid, model):
    out, _ = smoke_grid
    (record,) = (record for record in store.load_records(out) if record.spec.model == model)
    content = record.content
    spec = RunSpec.model_validate(content["spec"])
    assert content["digest"] == spec.digest
    assert content["run_id"] == spec.run_id == record.folder.name
    assert content["images"]["autoencoder"] == 20 * 16
    assert content["images"]["discriminator"] == (20 * 16 if model.startswith("factor") else 0)
    assert content["environment"]["threads"] == 1
    assert content["environment"]["device"] == "cpu"
    assert content["peak_memory"]["host"] > 50e6
    assert content["seconds"]["training"] > 0
    assert set(content["seconds"]["metrics"]) == set(spec.scoring.metrics)
    for row in record.scores:
        assert {"metric", "score", "value", "higher_is_better", "variant", "version", "paper"} <= set(row)
        assert row["variant"] == spec.scoring.metrics[row["metric"]]
    values = {f"{row['metric']}.{row['score']}": row["value"] for row in record.scores}
    assert {"dci.disentanglement", "dci.completeness", "dci.informativeness", "infomec.modularity"} <= set(values)
    assert values["mse.psnr"] == pytest.approx(-10 * np.log10(values["mse.mse"]))


def test_scores_can_be_recomputed_from_the_stored_codes(smoke_grid):
    out, _ = smoke_grid
    for record in store.load_records(out):
        evaluation = load_evaluation(record.folder / "codes.npz")
        assert len(evaluation.factors) == 600
        assert evaluation.n_train == 400
        again = score(evaluation, record.spec.scoring.metrics)
        for row, old in zip(again.rows, record.scores, strict=True):
            np.testing.assert_equal(row["value"], old["value"])
        with np.load(record.folder / "matrices.npz") as file:
            assert file["dci.importance"].shape == (12, 6)
            assert file["infomec.nmi"].shape == (6, 12)


def test_pictures(smoke_grid):
    out, _ = smoke_grid
    for record in store.load_records(out):
        with np.load(record.folder / "pictures.npz") as file:
            assert file["originals"].shape == file["reconstructions"].shape == (8, 64, 64, 3)
            assert file["traversals"].shape == (12, 8, 64, 64, 3)
            assert all(file[name].dtype == np.uint8 for name in file.files)


def test_results_csv_is_tidy(smoke_grid):
    out, _ = smoke_grid
    table = pd.read_csv(out / "results.csv")
    assert not table.duplicated(["run_id", "score"]).any()
    assert set(table.model) == set(MODELS.names("all"))
    assert {"dataset", "protocol", "seed", "value", "variant", "metric_version", "off_protocol"} <= set(table.columns)


def test_an_interrupted_command_goes_on_to_the_same_bits(tmp_path):
    """SIGINT while two runs are training: status 130, checkpoints, no traceback; the same command finishes them."""
    words = [*RUN, "--models", "qlae,factor_qvae", "--set", "training.updates=150", "--jobs", "2", "--out"]
    subprocess.run([*words, str(tmp_path / "whole")], check=True, capture_output=True)
    process = subprocess.Popen(
        [*words, str(tmp_path / "parts")], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    folders = tmp_path / "parts" / "runs"
    deadline = time.monotonic() + 120
    while len(list(folders.glob("*/spec.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its processes
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command goes on" in errors
    assert not list(folders.glob("*/failed.json"))
    assert len(list(folders.glob("*/record.json"))) < 2
    done = subprocess.run([*words, str(tmp_path / "parts")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_killed_process_is_a_failure_with_its_command(tmp_path):
    """A run whose process dies is recorded; the others and the command go on."""
    words = [
        *RUN,
        "--models",
        "beta_vae,qlae",
        "--set",
        "training.updates=200",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folders = tmp_path / "out" / "runs"
    deadline = time.monotonic() + 120
    while not list(folders.glob("*beta_vae*/spec.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-f", "forkserver"], capture_output=True, text=True).stdout.split()
    ours = [pid for pid in children if group_parent(int(pid)) in {process.pid, *map(int, children)}]
    grandchildren = [int(pid) for pid in ours if group_parent(int(pid)) != process.pid]
    mine = [pid for pid in grandchildren if group_parent(group_parent(pid)) == process.pid]
    assert len(mine) == 1
    os.kill(mine[0], signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "1 finished, 0 skipped, 1 failed" in output
    (failed,) = folders.glob("*beta_vae*/failed.json")
    content = json.loads(failed.read_text())
    assert "killed by SIGKILL" in content["error"]
    assert content["command"].startswith("dbench run --models beta_vae --datasets rooms3d")


def group_parent(pid):
    """The parent of a process, 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0
