"""From records to leaderboard.csv: what is pooled, what is ranked, and what the file says."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from disentangle_bench.errors import BenchError
from disentangle_bench.report import leaderboard, statistics
from disentangle_bench.report.scores import GROUP, TABLE, score_table
from disentangle_bench.store import status
from disentangle_bench.store.runs import load_records
from support import records as synthetic
from support.boards import board, record, three

DOC = Path(__file__).parents[2] / "docs" / "leaderboard_csv.md"


def test_a_row_worked_by_hand():
    (row,) = board(three("qlae", [0.2, 0.5, 0.8])).to_dict("records")
    assert (row["dataset"], row["protocol"], row["model"], row["score"]) == (
        "rooms3d",
        "cpu",
        "qlae",
        "dci.disentanglement",
    )
    assert (row["n"], row["undefined"], row["rank"], row["note"]) == (3, 0, 1, "")
    assert [row[name] for name in ("mean", "std", "median", "iqm")] == pytest.approx([0.5, 0.3, 0.5, 0.5])
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([0.2, 0.8], abs=1e-5)
    assert row["direction"] == "higher"


def test_groups_of_all_sizes_equal_one_group_at_a_time():
    rng = np.random.default_rng(1)
    records = [
        record(f"model{index}", seed, {"dci.disentanglement": rng.random(), "mse.mse": rng.random()})
        for index, n in enumerate([3, 7, 1, 3, 12, 4])
        for seed in range(n)
    ]
    scores = score_table([records[i] for i in rng.permutation(len(records))])
    table = leaderboard.leaderboard(scores).set_index(["model", "score"])
    for (model, score), part in scores.groupby(["model", "score"]):
        values, row = part["value"].to_numpy()[None], table.loc[(model, score)]
        low, high = statistics.interval(values)
        expected = [len(part), values.mean(), np.median(values), statistics.iqm(values)[0], low[0], high[0]]
        assert [row[name] for name in ("n", "mean", "median", "iqm", "ci_low", "ci_high")] == pytest.approx(expected)
    for _, part in table.reset_index().query("n >= 3").groupby("score"):
        sign = 1 if part["direction"].iloc[0] == "lower" else -1
        assert part["rank"].tolist() == (sign * part["mean"]).rank().tolist()


@pytest.mark.parametrize(
    "other",
    [
        {"model_version": 2},
        {"dataset_version": 2},
        {"protocol_version": 2},
        {"dataset": "shapes3d"},
        {"protocol": "standard"},
        {"settings": {"latents": 10, "beta": 2.0}},
        {"settings": {"latents": 10, "beta": 4.0}, "changed": ("model.beta",)},
    ],
)
def test_different_runs_are_never_pooled(other):
    table = board(three("qlae", [0.1, 0.2, 0.3]) + three("qlae", [0.7, 0.8, 0.9], **other))
    assert sorted(table["mean"]) == pytest.approx([0.2, 0.8])
    assert table["n"].tolist() == [3, 3]


def test_package_versions_are_pooled_and_named_unless_they_are_asked_for():
    """After an upgrade seed 0 is of the old version and seeds 1 and 2 are new: one row of three seeds, ranked."""
    records = three("qlae", [0.1, 0.2, 0.3])
    records[0].content["package"]["version"] = "0.0.9"
    (row,) = board(records).itertuples()
    assert (row.n, row.mean, row.package_versions, row.note) == (3, pytest.approx(0.2), "0.0.9 0.1.0", "")
    board_by_version = leaderboard.leaderboard(score_table(records, by_version=True))
    assert dict(board_by_version.set_index("package_versions")["mean"]) == pytest.approx({"0.1.0": 0.25, "0.0.9": 0.1})


def test_changed_values_are_told_apart_though_their_names_are_the_same():
    options = {"changed": ("model.beta",)}
    records = three("qlae", [0.1, 0.2, 0.3], settings={"latents": 10, "beta": 2.0}, **options)
    records += three("qlae", [0.7, 0.8, 0.9], settings={"latents": 10, "beta": 4.0}, **options)
    assert dict(board(records).set_index("changed")["mean"]) == pytest.approx(
        {"model.beta=2.0": 0.2, "model.beta=4.0": 0.8}
    )


def test_a_file_is_named_without_its_folder_and_with_one_where_another_has_its_name(tmp_path):
    """The same content in two folders is one dataset, and the runs on it are pooled."""
    paths = [("a/x/d.npz", 7), ("b/x/d.npz", 8), ("c/e.npz?resize=64", 9), ("d/e.npz?resize=64", 9)]
    for seed, (path, version) in enumerate(paths):
        synthetic.write_run(tmp_path, synthetic.spec("ae", seed, dataset=f"/home/{path}", dataset_version=version))
    table = score_table(load_records(tmp_path))
    assert set(table["dataset"]) == {"a/x/d.npz", "b/x/d.npz", "e.npz?resize=64"}
    assert set(table[table["dataset"] == "e.npz?resize=64"]["seed"]) == {2, 3}
    assert len(table[TABLE].drop_duplicates()) == 3
    rows = status.states(tmp_path)
    assert len(status.Selection(datasets=("/elsewhere/d.npz",)).of(rows)) == 2
    assert {key[0] for key in status.by_model(rows)} == {"d.npz", "e.npz?resize=64"}


@pytest.mark.parametrize("field", ["variant", "version"])
def test_metric_versions_and_variants_are_never_pooled_nor_ranked_together(field):
    records = three("qlae", [0.1, 0.2, 0.3]) + three("vq_vae", [0.4, 0.5, 0.6])
    for row in records[0].content["scores"] + records[1].content["scores"] + records[2].content["scores"]:
        row[field] = "other" if field == "variant" else 2
    assert board(records)[["n", "rank"]].values.tolist() == [[3, 1], [3, 1]]


def test_a_seed_counts_once_though_it_was_run_with_two_sets_of_metrics():
    scoring = synthetic.PROTOCOLS["cpu"].scoring.model_copy(update={"metrics": {"mse": "heldout"}})
    early, late = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    for first, second in ((early, late), (late, early)):
        first_record = record(scores={"mse.mse": 0.1}, record_values={"finished": first})
        second_record = record(scores={"mse.mse": 0.2}, record_values={"finished": second}, scoring=scoring)
        (row,) = board([first_record, second_record]).to_dict("records")
        assert (row["n"], row["mean"]) == (1, 0.2 if second == late else 0.1)


@pytest.mark.parametrize(
    ("records", "note"),
    [
        (lambda: three("qlae", [0.1, 0.2]), "n<3"),
        (lambda: three("qlae", [0.1, 0.2, 0.3, 0.4], protocol="quick"), "unranked-protocol"),
        (lambda: three("qlae", [0.1, 0.2, 0.3], changed=("model.beta",)), "off-protocol"),
        (lambda: three("qlae", [0.1, 0.2, 0.3, None]), "undefined"),
        (lambda: three("qlae", [None, None]), "undefined n<3"),
        (lambda: three("qlae", [0.1], protocol="smoke", changed=("model.beta",)), "off-protocol n<3"),
    ],
)
def test_what_has_a_note_has_no_rank_and_takes_none(records, note):
    others = three("vq_vae", [0.0, 0.0, 0.05])
    table = board(records() + others).set_index("model")
    assert table.loc["qlae", "note"] == note
    assert table.loc["qlae", "rank"] is pd.NA
    assert table.loc["vq_vae", "rank"] == 1


def test_a_record_off_its_protocol_does_not_make_the_protocol_unranked():
    records = [record(seed=seed, changed=("model.beta",), record_values={"ranked": False}) for seed in range(3)]
    assert set(board(records)["note"]) == {"off-protocol"}


def test_undefined_values_are_counted_and_left_out():
    (row,) = board(three("qlae", [0.2, None, 0.4])).to_dict("records")
    assert (row["n"], row["undefined"], row["mean"]) == (2, 1, pytest.approx(0.3))
    (row,) = board(three("qlae", [None, None, None])).to_dict("records")
    assert (row["n"], row["undefined"]) == (0, 3)
    assert np.isnan(row["mean"])


def test_lower_is_better_where_the_record_says_so_and_ties_share_the_rank():
    records = three("a", [3, 3, 3], "mse.mse") + three("b", [1, 1, 1], "mse.mse") + three("c", [3, 3, 3], "mse.mse")
    assert dict(board(records).set_index("model")["rank"]) == {"a": 2, "b": 1, "c": 2}


def test_csv_round_trips_with_its_documented_types(tmp_path):
    records = three("qlae", [0.1, 0.2, 1 / 3]) + three("vq_vae", [None]) + three("NA", [0.5], changed=("model.beta",))
    table = board(records)
    leaderboard.write_csv(table, tmp_path / "leaderboard.csv")
    read_table = leaderboard.read_csv(tmp_path / "leaderboard.csv")
    assert {
        name: str(dtype).replace("string", "str") for name, dtype in read_table.dtypes.items()
    } == leaderboard.DTYPES
    assert_frame_equal(read_table, table, rtol=1e-8, check_dtype=False)
    content = (tmp_path / "leaderboard.csv").read_bytes()
    assert b"\r" not in content
    assert content.startswith(",".join(leaderboard.DTYPES).encode() + b"\n")


def test_csv_is_the_same_whatever_the_order_of_the_records(tmp_path):
    synthetic.write_grid(tmp_path, seeds=4, companions=False)
    records = load_records(tmp_path)
    files = []
    for name, order in (("a", records), ("b", records[::-1])):
        leaderboard.write_csv(board(order), tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


HOSTILE = 'a|b`c`\n"quoted", <script>alert(1)</script>\r\n\x00\u2028=1'


def test_hostile_text_keeps_its_row_and_starts_no_formula(tmp_path):
    table = board(three(HOSTILE, [0.1, 0.2, 0.3]) + three("=HYPERLINK(1)", [0.4, 0.5, 0.6]))
    leaderboard.write_csv(table, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").count("\n") == 3
    names = set(leaderboard.read_csv(tmp_path / "x.csv")["model"])
    assert names == {"'=HYPERLINK(1)", 'a|b`c` "quoted", <script>alert(1)</script> =1'}


def test_metrics_filter_keeps_named_metrics_and_suggests_the_nearest():
    records = [record(seed=seed) for seed in range(3)]
    assert set(score_table(records, ["dci", "mse"])["metric"]) == {"dci", "mse"}
    with pytest.raises(BenchError, match=re.escape("unknown metric 'infmec'. Did you mean 'infomec'? Allowed: dci")):
        score_table(records, ["infmec"])


def test_documentation_names_every_column_with_its_type_and_every_note():
    page = DOC.read_text(encoding="utf-8")
    assert f"schema {leaderboard.SCHEMA}" in page.lower()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, flags=re.MULTILINE)
    assert rows == list(leaderboard.DTYPES.items())
    assert all(f"`{note}`" in page for note in leaderboard.NOTES)


def test_groups_are_what_the_documentation_says_is_never_pooled():
    page = DOC.read_text(encoding="utf-8").split("## Columns")[0]
    assert all(f"`{name}`" in page for name in GROUP)
