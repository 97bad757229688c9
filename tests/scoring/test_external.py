"""``dbench import``: codes from elsewhere are runs of a results folder, marked, pooled over seeds, never ranked."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import disentangle_bench as db
from disentangle_bench.data.rooms3d import Rooms3D
from disentangle_bench.errors import BenchError
from disentangle_bench.report import write_report
from disentangle_bench.scoring import external
from disentangle_bench.scoring.score import score_results
from disentangle_bench.scoring.tables import Reading, read_file
from disentangle_bench.store import runs, status
from disentangle_bench.store.merge import merge
from support import records
from support.invoke import one_line

CARD = Rooms3D.card
MIG = {"model": "mine", "dataset": "rooms3d", "protocol_name": "cpu", "metrics": "mig"}


def codes(path, seed=0, rows=300, **arrays):
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, CARD.factor_sizes, size=(rows, len(CARD.factor_sizes)))
    values = factors[:, :4] + 0.1 * rng.standard_normal((rows, 4))
    np.savez(path, **{"codes": values, "factors": factors} | arrays)
    return path


def import_codes(path, out, **options):
    reading = Reading()
    return external.import_codes(read_file(path, reading), external.origin_of([path], reading), out, **options)


def value(record):
    return {row["score"]: row["value"] for row in record.scores}["score"]


def test_imported_seeds_are_one_row_beside_trained_runs_without_a_rank(tmp_path):
    out = tmp_path / "out"
    for seed in range(3):
        for model in ("qlae", "factor_vae"):
            records.write_run(out, records.spec(model, seed, protocol_version=2), {"mig.score": 0.1 + 0.01 * seed})
        import_codes(codes(tmp_path / "c.npz", seed), out, seed=seed, **MIG)
    assert runs.read_records(out).problems == {}
    board = write_report(out, figures=False, html=True).leaderboard
    board = board[board["variant"] == "locatello2019"].set_index("model")
    assert board.loc["mine"][["n", "changed", "note"]].tolist() == [3, "external", "external"]
    assert board["rank"].isna().loc["mine"]
    assert (out / "leaderboard.md").read_text().count("mine (external)") >= 1
    assert "Codes from elsewhere" in (out / "leaderboard.md").read_text()
    assert "mine" in (out / "report.html").read_text()
    ranked = write_report(out, figures=False).leaderboard.query("model != 'mine'")
    assert sorted(ranked["rank"]) == [1, 1]


def test_scores_are_those_of_the_file_also_when_the_folder_is_scored_again(tmp_path):
    out = tmp_path / "out"
    first = import_codes(codes(tmp_path / "c.npz", discrete=False), out, **MIG)
    assert first.content["external"]["file"] == "c.npz"
    rescored_records, failed = score_results(out, "mig,sap", [], jobs=1, progress=lambda done, total: None)
    assert not failed
    assert {row["metric"] for row in rescored_records[0].scores} == {"mig", "sap"}
    assert value(first) == next(row["value"] for row in rescored_records[0].scores if row["metric"] == "mig") > 0.3
    merge([out], tmp_path / "merged")
    assert [row.state for row in status.states(tmp_path / "merged")] == ["done"]


def test_the_protocols_metrics_by_default_and_mse_only_with_errors(tmp_path):
    options = {**MIG, "metrics": None, "variants": ["infomec=hsu2023"]}
    path = codes(tmp_path / "c.npz", rows=30)
    metrics = {row["metric"] for row in import_codes(path, tmp_path / "a", **options).scores}
    assert metrics == {"dci", "infomec", "latents"}
    path = codes(tmp_path / "d.npz", squared_error=np.full(300, 0.25))
    rows = import_codes(path, tmp_path / "b", **{**MIG, "metrics": "mse"}).scores
    assert rows[0]["value"] == 0.25


def test_the_same_file_is_scored_again_and_another_is_not_put_over_it(tmp_path):
    out = tmp_path / "out"
    path = codes(tmp_path / "c.npz")
    before = import_codes(path, out, **MIG)
    assert import_codes(path, out, **MIG).folder == before.folder
    (before.folder / "record.json").write_text("{")
    assert value(import_codes(path, out, **MIG)) == value(before)
    with pytest.raises(BenchError, match=r"has other codes: remove it with dbench rm, or give another --seed"):
        import_codes(codes(path, 1), out, **MIG)
    assert value(runs.read_record(before.folder)) == value(before)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"factors": np.zeros((300, 2), int)}, {}, "has 2 factors, and rooms3d has 6"),
        ({"factors": np.random.default_rng(0).random((300, 6))}, {}, "real numbers, and those of rooms3d are classes"),
        ({"factors": np.arange(1800).reshape(300, 6) % 97}, {}, "97 values of .*, and rooms3d has"),
        ({}, {"model": "../mine"}, "the model is called '../mine'"),
        ({}, {"model": ""}, "give up to 60 letters"),
        ({}, {"dataset": "romms3d"}, "romms3d.*rooms3d"),
        ({}, {"protocol_name": "cpuu"}, "cpuu.*cpu"),
        ({}, {"metrics": "mgi"}, "mgi.*mig"),
        ({}, {"seed": -1}, "the seed is -1"),
        ({"n_train": 300}, {}, "has 300 rows, 300 of them to fit predictors: give --n-train at least 2"),
        ({"n_train": 1}, {}, "1 of them to fit predictors"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_written(tmp_path, arrays, options, message):
    with pytest.raises(BenchError, match=message):
        import_codes(codes(tmp_path / "c.npz", **arrays), tmp_path / "out", **MIG | options)
    assert not (tmp_path / "out").exists()


def test_a_metric_that_fails_leaves_no_run_behind(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(external, "score", stop)
    with pytest.raises(KeyboardInterrupt):
        import_codes(codes(tmp_path / "c.npz"), tmp_path / "out", **MIG)
    assert list((tmp_path / "out" / "runs").iterdir()) == []


WORDS = ["--model", "mine", "--dataset", "rooms3d", "--protocol", "cpu", "--metrics", "mig", "--out", "out"]
COLUMNS = ["--codes-columns", "z*", "--factors-columns", ",".join(CARD.factor_names)]


def table(path):
    """The arrays of ``codes`` as a table whose columns of factors are in the dataset's order."""
    with np.load(codes(path.with_suffix(".npz"))) as arrays:
        frame = pd.DataFrame(arrays["codes"], columns=["z0", "z1", "z2", "z3"])
        return frame.join(pd.DataFrame(arrays["factors"], columns=list(CARD.factor_names)))


def test_tables_pairs_and_arrays_are_imported_as_their_file(dbench, tmp_path):
    frame = table(tmp_path / "c")
    frame.to_csv(tmp_path / "c.csv", index=False)
    values, factors = frame.filter(regex="^z"), frame[list(CARD.factor_names)]
    np.save(tmp_path / "z.npy", values.to_numpy())
    np.save(tmp_path / "y.npy", factors.to_numpy())
    expected = value(import_codes(tmp_path / "c.npz", tmp_path / "file", **MIG))
    inputs = {"table": ["c.csv", *COLUMNS], "pair": ["--codes", "z.npy", "--factors", "y.npy"]}
    for out, options in inputs.items():
        result = dbench("import", *options, *WORDS[:-1], out)
        assert result.returncode == 0, result.stderr
        (record,) = runs.load_records(tmp_path / out)
        assert value(record) == expected
    assert record.content["external"]["file"] == "z.npy and y.npy"
    imported = db.import_codes(
        values, factors, model="mine", dataset="rooms3d", protocol="cpu", metrics="mig", out=tmp_path / "python"
    )
    assert imported.scores["mig.score"] == expected
    assert db.load(tmp_path / "python")["mine", 0].codes().values.tobytes() == values.to_numpy().tobytes()
    with pytest.raises(BenchError, match="has other codes"):
        db.import_codes(
            -values, factors, model="mine", dataset="rooms3d", protocol="cpu", metrics="mig", out=tmp_path / "python"
        )


def test_other_columns_of_one_file_are_other_codes(dbench, tmp_path):
    table(tmp_path / "c").to_csv(tmp_path / "c.csv", index=False)
    arguments = ["import", "c.csv", *COLUMNS, *WORDS]
    assert dbench(*arguments).returncode == 0
    assert dbench(*arguments).returncode == 0
    assert "has other codes" in one_line(dbench(*arguments, "--codes-columns", "z0,z1"))
    swapped = ",".join(reversed(CARD.factor_names))
    assert f"another order: name {CARD.factor_names[0]}," in one_line(dbench(*arguments, "--factors-columns", swapped))
    assert "--codes and --factors go together" in one_line(dbench(*arguments, "--codes", "z.npy"))
    assert "no codes were given" in one_line(dbench("import", *WORDS))


def test_the_command(dbench, tmp_path):
    result = dbench("import", codes(tmp_path / "c.npz"), *WORDS, "--seed", 4)
    assert result.returncode == 0, result.stderr
    assert re.search(r"mine\s+│|mine \(external\)", result.stdout)
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    assert folder.name.startswith("rooms3d-cpu-mine-seed4-")
    assert str(folder.name) in result.stdout
    assert "come from elsewhere" in one_line(dbench("reproduce", folder))
    assert "there is no" in one_line(dbench("import", "none.npz", *WORDS))
