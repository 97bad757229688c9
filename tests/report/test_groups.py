"""Scores of groups of runs in the report: read tolerantly, shown in tables and page."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.report import write_report
from disentangle_bench.scoring.files import save_evaluation
from support import records as synthetic


@pytest.fixture
def out(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae", "vq_vae"), seeds=2, companions=False)
    score = {"metric": "consistency", "score": "linear", "chance": 0.01, "variant": "x", "version": 1}
    groups = [
        {
            "runs": [synthetic.spec(model, seed).run_id for seed in range(2)],
            "scores": [score | {"value": value, "higher_is_better": True}],
        }
        for model, value in (("qlae", 0.75), ("vq_vae", None))
    ]
    (tmp_path / "groups.json").write_text(json.dumps({"schema": 1, "groups": groups}))
    return tmp_path


def test_groups_are_in_tables_and_page(out):
    report = write_report(out, figures=False, html=True)
    csv = pd.read_csv(out / "groups.csv")
    assert out / "groups.csv" in report.paths
    assert csv["model"].tolist() == ["qlae", "vq_vae"]
    assert csv["n"].tolist() == [2, 2]
    assert csv["value"].iloc[0] == 0.75
    assert pd.isna(csv["value"].iloc[1])
    markdown = (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "| consistency.linear ↑ | qlae | 2 | 0.750 | 0.010 |" in markdown
    assert "| consistency.linear ↑ | vq_vae | 2 | — | 0.010 |" in markdown
    page = (out / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    (table,) = data["tables"]
    index = next(i for i, column in enumerate(table["columns"]) if column["name"] == "consistency.linear")
    assert [(row["model"], row["cells"][index]["mean"], row["cells"][index]["n"]) for row in table["rows"]] == [
        ("qlae", 0.75, 2),
        ("vq_vae", None, 0),
    ]


def test_the_report_compares_seeds_that_nobody_has_compared(tmp_path):
    for seed in range(3):
        folder = synthetic.write_run(tmp_path, synthetic.spec("qlae", seed))
        codes = np.random.default_rng(0).normal(size=(200, 4))[:, :: 1 if seed else -1]
        save_evaluation(folder / "codes.npz", Evaluation(Codes(codes), np.zeros((200, 1), dtype=int), 100))
    lines = []
    write_report(tmp_path, figures=False, formats=["csv"], progress=lines.append)
    csv = pd.read_csv(tmp_path / "groups.csv").set_index("score")
    assert csv.loc["consistency.permutation", "value"] == pytest.approx(1)
    assert (csv["n"] == 3).all()
    assert "comparing the seeds of qlae" in lines
    write_report(tmp_path, figures=False, formats=["csv"], progress=lines.append)
    assert lines.count("comparing the seeds of qlae") == 1


def test_a_table_of_runs_that_have_been_removed_goes(out):
    write_report(out, figures=False, formats=["csv"])
    assert (out / "groups.csv").exists()
    for model in ("qlae", "vq_vae"):
        (out / "runs" / synthetic.spec(model, 1).run_id / "record.json").unlink()
    write_report(out, figures=False, formats=["csv"])
    assert not (out / "groups.csv").exists()


def test_a_group_with_a_run_that_is_not_there_is_left_out(out):
    (out / "runs" / synthetic.spec("qlae", 1).run_id / "record.json").unlink()
    write_report(out, figures=False, formats=["csv"])
    assert pd.read_csv(out / "groups.csv")["model"].tolist() == ["vq_vae"]


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1, "groups": 3}', '{"schema": 1, "groups": [3]}'])
def test_an_odd_file_is_named_and_the_report_goes_on(out, content):
    (out / "groups.json").write_text(content)
    report = write_report(out, figures=False, formats=["csv", "md"])
    assert not (out / "groups.csv").exists()
    assert any("groups.json cannot be read" in note for note in report.notes)
