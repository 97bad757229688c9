"""write_report on whole, partial, broken and hostile results folders."""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
from rich.console import Console

from disentangle_bench.errors import BenchError
from disentangle_bench.report import write_report
from disentangle_bench.report.tables.markdown import escape
from support import records as synthetic
from support.markdown import tables

PARQUET = ["results.parquet"] if importlib.util.find_spec("pyarrow") else []
HOSTILE = "a|b `c` <script>alert(1)</script> **x** [y](z) \\| $m$\nnew | line"


def shown(report, width: int) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(report.table())
    return console.export_text()


def test_a_whole_grid(tmp_path):
    synthetic.write_grid(tmp_path, seeds=3, companions=False)
    messages = []
    report = write_report(tmp_path, figures=False, progress=messages.append)
    assert [path.relative_to(tmp_path).as_posix() for path in report.paths] == [
        "results.csv",
        "leaderboard.csv",
        "mean_ranks.csv",
        *PARQUET,
        "leaderboard.md",
        "leaderboard.tex",
        "CITATION.cff",
    ]
    assert len(pd.read_csv(tmp_path / "results.csv")) == 6 * 3 * 8
    assert len(report.leaderboard) == 6 * 8
    assert messages == ["reading the run records", "tables of 18 runs"]
    assert report.notes == ()
    markdown = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    table, means = tables(markdown)
    assert [row[0] for row in means[2:]] == list("123456")
    assert table[0][:3] == ["model", "n", "dci.disentanglement ↑"]
    assert "mse.mse ↓" in table[0]
    assert [row[0] for row in table[2:]] == sorted(synthetic.MODELS)
    for column in range(2, len(table[0])):
        assert sum(row[column].startswith("**") for row in table[2:]) == 1
    best = report.leaderboard.query("score == 'dci.disentanglement' and rank == 1").iloc[0]
    cell = next(row for row in table if row[0] == best.model)[2]
    assert cell == f"**{best['mean']:.3f} [{best.ci_low:.3f}, {best.ci_high:.3f}]**"


def test_the_same_records_give_the_same_bytes(tmp_path):
    contents = []
    for name in ("a", "b"):
        out = synthetic.write_grid(tmp_path / name, ("qlae",), seeds=2)
        report = write_report(
            out, figures=False, html=out / "report.html"
        )  # of figures, test_comparisons asks the same
        contents.append({path.relative_to(out): path.read_bytes() for path in report.paths})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 7 + len(PARQUET)


def test_what_is_missing_failed_or_not_ranked_is_said(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=5, companions=False)
    synthetic.write_grid(tmp_path, ("fsq", "vq_vae"), seeds=2, companions=False)
    synthetic.write_grid(tmp_path, ("vq_vae",), seeds=4, companions=False, protocol="quick")
    synthetic.write_run(tmp_path, synthetic.spec("qlae", 7, settings={"latents": 4}, changed=("model.latents",)))
    synthetic.write_failure(tmp_path, synthetic.spec("vq_vae", 2), "out of memory")
    # A run that failed once and was finished later is no failure.
    synthetic.write_failure(tmp_path, synthetic.spec("qlae", 0), "was retried")
    (tmp_path / "runs" / "half-done").mkdir()
    write_report(tmp_path, figures=False)
    markdown = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    cpu, quick = markdown.split("## rooms3d, ")[1:3]
    assert "- Fewer than 3 seeds, so not ranked: fsq, qlae (model.latents=4), vq_vae.\n" in cpu
    assert "- Off-protocol (settings changed by hand), so not ranked: qlae (model.latents=4).\n" in cpu
    assert "- fsq, vq_vae lack seeds 2-4, which others have.\n" in cpu
    assert " seeds 2-4" not in quick
    assert "Nothing here is ranked" in quick
    assert "Nothing here is ranked" not in cpu
    assert "**" not in quick
    assert f"- {synthetic.spec('vq_vae', 2).run_id}: out of memory\n" in markdown
    assert "was retried" not in markdown
    assert "- half-done\n" in markdown


def test_runs_that_collapsed_are_named(tmp_path):
    """A mean hides that one of its runs has no active latent, that is, the same code for every image."""
    for seed in range(4):
        scores = {"dci.disentanglement": 0.5, "latents.active": 4.0}
        synthetic.write_run(tmp_path, synthetic.spec("qlae", seed), scores)
        dead = {"dci.disentanglement": 0.0, "latents.active": 0.0}
        synthetic.write_run(tmp_path, synthetic.spec("vq_vae", seed), scores if seed in (0, 2) else dead)
    write_report(tmp_path, figures=False, html=tmp_path / "report.html")
    remark = "vq_vae ended with no active latent (collapsed) for seeds 1, 3, which its means count like any other."
    markdown = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert f"- {remark}\n" in markdown
    assert "qlae ended" not in markdown
    assert remark in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_scores_that_differ_between_records(tmp_path):
    for seed in range(3):
        synthetic.write_run(tmp_path, synthetic.spec("qlae", seed), {"dci.disentanglement": 0.5, "latents.active": 4})
        scores = {"dci.disentanglement": None, "latents.perplexity": 7.0 if seed else None}
        synthetic.write_run(tmp_path, synthetic.spec("vq_vae", seed), scores)
    report = write_report(tmp_path)
    markdown = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    (table,) = tables(markdown)
    assert table[2:] == [
        ["qlae", "3", "**0.500 [0.500, 0.500]**", "**4.00 [4.00, 4.00]**", "—"],
        ["vq_vae", "3", "undefined", "—", "7.00 [7.00, 7.00] (n=2)"],
    ]
    assert "not ranked: vq_vae: dci.disentanglement, vq_vae: latents.perplexity.\n" in markdown
    assert "Fewer than" not in markdown
    assert "undefined" in shown(report, 200)


@pytest.mark.thorough
def test_versions_stand_apart_and_that_is_said(tmp_path):
    for seed in range(3):
        for version in (1, 2):
            synthetic.write_run(tmp_path, synthetic.spec("qlae", seed, model_version=version))
            run = synthetic.spec("vq_vae", seed, dataset="shapes3d", dataset_version=version)
            folder = synthetic.write_run(tmp_path, run, {"dci.disentanglement": 0.5})
            if version == 2 and seed == 0:
                content = json.loads((folder / "record.json").read_text())
                content["scores"][0]["variant"] = "other"
                (folder / "record.json").write_text(json.dumps(content))
    write_report(tmp_path)
    markdown = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert [row[0] for row in tables(markdown)[0][2:]] == ["qlae v1", "qlae v2"]
    assert "One model is present in several versions or settings" in markdown
    assert "## shapes3d v1, cpu v1\n" in markdown
    assert "## shapes3d v2, cpu v1\n" in markdown
    assert "dci.disentanglement (other, v1) ↑ | dci.disentanglement (locatello2019, v1) ↑" not in markdown
    assert "dci.disentanglement (locatello2019, v1) ↑ | dci.disentanglement (other, v1) ↑" in markdown
    assert "Scores of several variants or metric versions are present" in markdown
    folders = {path.name for path in (tmp_path / "figures").iterdir()}
    assert len(folders) == 3


def test_metrics_filter(tmp_path):
    synthetic.write_grid(tmp_path, seeds=1, companions=False)
    report = write_report(tmp_path, metrics=["mse"], figures=False)
    assert set(report.leaderboard["metric"]) == {"mse"}
    assert set(pd.read_csv(tmp_path / "results.csv")["metric"]) == {"dci", "infomec", "mse"}
    with pytest.raises(BenchError, match=r"unknown metric 'dcy'\. Did you mean 'dci'"):
        write_report(tmp_path, metrics=["dcy"])


def test_folders_that_have_no_results(tmp_path):
    with pytest.raises(BenchError, match="there is no results folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(BenchError, match="is not a results folder"):
        write_report(tmp_path)
    synthetic.write_failure(tmp_path, synthetic.spec(), "first\nand worst")
    (tmp_path / "runs" / "half-done").mkdir()
    with pytest.raises(
        BenchError, match=r"no run .* is finished yet: 1 failed .*, 1 unfinished\. Run the same"
    ) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    synthetic.write_run(tmp_path, synthetic.spec(), {})
    with pytest.raises(BenchError, match=r"none of the 1 finished runs .* has a score"):
        write_report(tmp_path)


@pytest.mark.slow
def test_hostile_text_changes_no_structure(tmp_path):
    for seed in range(3):
        synthetic.write_run(tmp_path, synthetic.spec("qlae", seed, model=HOSTILE, dataset="../" + HOSTILE))
    report = write_report(tmp_path)
    failure = synthetic.write_failure(tmp_path, synthetic.spec("qlae", 9), HOSTILE)
    content = json.loads((failure / "failed.json").read_text())
    (failure / "failed.json").write_text(json.dumps(content | {"run_id": HOSTILE}))
    write_report(tmp_path, figures=False)
    markdown = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    (table,) = tables(markdown)
    assert {len(row) for row in table} == {10}
    assert len(table) == 3
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)`c", markdown)
    assert sum(line.startswith("- ") for line in markdown.split("## Failed runs")[1].splitlines()) == 1
    assert all(tmp_path in path.resolve().parents for path in report.paths)
    assert len({path.parent for path in report.paths}) == 2
    assert "alert(1)" in shown(report, 300)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("factor_vae", "factor_vae"),
        ("__init__", r"\_\_init\_\_"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("x\r\ny\x00\u2028\u202ez", "x y z"),
    ],
)
def test_escape(text, expected):
    assert escape(text) == expected


def test_terminal_shows_all_names_whatever_its_width(tmp_path):
    synthetic.write_grid(tmp_path, seeds=3, companions=False)
    report = write_report(tmp_path, figures=False)
    wide, narrow = shown(report, 180), shown(report, 80)
    assert wide.count("rooms3d, cpu") == 1
    assert narrow.count("rooms3d, cpu") == 3
    for output in (wide, narrow):
        assert "…" not in output
        for word in (*synthetic.MODELS, "disentanglement ↑", "compactness ↑", "mse ↓"):
            assert word in output
    assert max(map(len, narrow.splitlines())) <= 80


@pytest.mark.thorough
def test_no_torch_no_open_figure_and_importing_is_cheap(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=1)
    code = f"""
import sys, pathlib
from disentangle_bench.report import write_report
heavy = [name for name in ("numpy", "scipy", "pandas", "matplotlib", "rich", "torch") if name in sys.modules]
assert not heavy, heavy
report = write_report(pathlib.Path({str(tmp_path)!r}))
assert len(report.paths) == {6 + len(PARQUET) + 13}, report
report.table()
assert "torch" not in sys.modules and "sklearn" not in sys.modules
from matplotlib import pyplot
assert not pyplot.get_fignums()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_terminal_prints_a_limited_number_of_rows_and_tables_and_says_so(tmp_path):
    for index in range(45):
        synthetic.write_run(tmp_path, synthetic.spec(f"model{index:02}"), {"mse.mse": 0.5})
    for index in range(13):
        synthetic.write_run(tmp_path, synthetic.spec("qlae", dataset=f"data{index:02}"), {"mse.mse": 0.5})
    output = shown(write_report(tmp_path, figures=False), 100)
    assert "data11, cpu" in output
    assert "data12, cpu" not in output
    assert "… and 2 more tables, in leaderboard.csv" in output
    report = write_report(tmp_path, figures=False)
    output = shown(dataclasses.replace(report, leaderboard=report.leaderboard.query("dataset == 'rooms3d'")), 100)
    assert "model39" in output
    assert "model40" not in output
    assert "… and 5 more, in" in output


def test_the_terminal_shows_the_interval(tmp_path):
    for seed, value in enumerate((0.1, 0.2, 0.6)):
        synthetic.write_run(tmp_path, synthetic.spec("qlae", seed), {"dci.disentanglement": value})
    report = write_report(tmp_path, figures=False)
    row = report.leaderboard.iloc[0]
    output = shown(report, 100)
    assert f"[{row.ci_low:.3f}, {row.ci_high:.3f}]" in output
    assert "±" not in output
