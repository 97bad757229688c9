"""The tables for papers: LaTeX, parquet, groupings, citation, published numbers; and text that means harm in them."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from disentangle_bench.errors import BenchError
from disentangle_bench.report import labels, leaderboard, published, ranking, write_report
from disentangle_bench.report.citation import Credit
from disentangle_bench.report.scores import score_table
from disentangle_bench.report.tables import latex
from disentangle_bench.report.tables.sheet import sheets
from disentangle_bench.store.runs import load_records
from support import records as synthetic
from support.markdown import tables

HOSTILE = (
    r"\input{/etc/passwd} \write18{id} $x_1^2$ 50% #1 a&b ~ {\bf} -- ``q'' \\ [2pt] \end{table} "
    "é ß µ β 中 😀 \u202e <script> \"x\" 'y' * | ]"
)


def published_grid(folder, models=("beta_tcvae", "qlae")):
    for model in models:
        for seed in range(3):
            synthetic.write_run(folder, synthetic.spec(model, seed, dataset="shapes3d"))
    return folder


def compile_latex(folder):
    """Compile ``leaderboard.tex`` inside a document; gives the log. Skips where there is no LaTeX."""
    commands = {
        "pdflatex": ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        "tectonic": ["tectonic", "--untrusted", "paper.tex"],
        "latexmk": ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
    }
    compiler = next((name for name in commands if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("none of pdflatex, tectonic and latexmk is installed")
    (folder / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n"
        "\\begin{document}\n\\input{leaderboard.tex}\n\\end{document}\n"
    )
    done = subprocess.run(commands[compiler], cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "paper.pdf").stat().st_size > 5000
    return done.stdout


def test_latex_compiles_whatever_the_names_are(tmp_path):
    for seed in range(3):
        synthetic.write_run(tmp_path, synthetic.spec("factor_qvae", seed))
        synthetic.write_run(tmp_path, synthetic.spec(f"{HOSTILE}{seed}", seed, dataset=HOSTILE), {"dci.x_%": 0.5})
        synthetic.write_run(tmp_path, synthetic.spec("qlae", seed), {"dci.disentanglement": None if seed else 0.1})
    write_report(tmp_path, figures=False, formats=["tex"])
    text = (tmp_path / "leaderboard.tex").read_text(encoding="utf-8")
    compile_latex(tmp_path)
    assert "passwd" in text
    assert r"\input{" not in text.replace(r"\usepackage", "")
    assert r"\write" not in text


def test_latex_table(tmp_path):
    synthetic.write_grid(tmp_path, seeds=3, companions=False)
    report = write_report(tmp_path, figures=False, formats=["tex"])
    text = (tmp_path / "leaderboard.tex").read_text(encoding="utf-8")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}") == 2  # eight columns are two tables
    assert text.count(r"\textbf{") == 8
    best = report.leaderboard.query("score == 'dci.disentanglement' and rank == 1").iloc[0]
    line = next(line for line in text.splitlines() if line.startswith(latex.escape(labels.model_title(best.model))))
    assert rf"\textbf{{{best['mean']:.3f}}}\\\scriptsize$[{best.ci_low:.3f}, {best.ci_high:.3f}]$" in line
    assert {line.count(" & ") for line in text.splitlines() if " & " in line} == {1 + 5, 1 + 3}


def test_latex_has_the_columns_that_are_asked_for_in_their_order(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=1, companions=False)
    write_report(tmp_path, figures=False, formats=["tex"], columns=["mse.mse", "infomec"])
    text = (tmp_path / "leaderboard.tex").read_text(encoding="utf-8")
    head = next(line for line in text.splitlines() if line.startswith("model"))
    places = [head.index(word) for word in ("MSE", "modularity", "explicitness", "compactness")]
    assert places == sorted(places)
    assert "disentanglement" not in text
    with pytest.raises(BenchError, match=r"unknown column 'mse.msee'.*mse.mse"):
        write_report(tmp_path, figures=False, formats=["tex"], columns=["mse.msee"])


def test_citation_takes_title_and_authors(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=1, companions=False)
    credit = Credit('Our "runs"', ("Noether, Emmy", "The {Lab}"))
    write_report(tmp_path, figures=False, formats=["md"], credit=credit)
    cff = yaml.safe_load((tmp_path / "CITATION.cff").read_text(encoding="utf-8"))
    assert cff["title"] == 'Our "runs"'
    assert cff["authors"] == [{"family-names": "Noether", "given-names": "Emmy"}, {"name": "The {Lab}"}]
    assert "author = {Noether, Emmy and {The Lab}}," in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_the_report_is_a_table_in_a_notebook(tmp_path):
    for seed in range(3):
        synthetic.write_run(tmp_path, synthetic.spec("factor_qvae", seed), {"dci.disentanglement": 0.5})
        synthetic.write_run(tmp_path, synthetic.spec("<b>x", seed), {"dci.disentanglement": 0.25})
    html = write_report(tmp_path, figures=False)._repr_html_()
    assert html.count("<table>") == 1
    assert "<th>DCI disentanglement ↑</th>" in html
    assert "<th>FactorQVAE</th><td>3</td><td><b>0.500 [0.500, 0.500]</b></td>" in html
    assert "<th>&lt;b&gt;x</th>" in html


def test_chance_levels_are_in_the_leaderboard_and_a_score_at_chance_is_said(tmp_path):
    for model, value in (("qlae", 0.5), ("vq_vae", 0.1)):
        for seed in range(3):
            folder = synthetic.write_run(tmp_path, synthetic.spec(model, seed), {"dci.x": value + seed / 100})
            content = json.loads((folder / "record.json").read_text())
            content["scores"][0] |= {"chance": 0.1 + seed / 100}
            (folder / "record.json").write_text(json.dumps(content))
    report = write_report(tmp_path, figures=False)
    assert leaderboard.read_csv(tmp_path / "leaderboard.csv")["chance"].tolist() == pytest.approx([0.11, 0.11])
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "dci.x is at its chance level, that of codes in random order, for vq_vae." in text
    assert list(report.leaderboard["chance"]) == pytest.approx([0.11, 0.11])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("factor_vae", r"factor\_vae"),
        ("\\end{x}", r"\textbackslash{}end\{x\}"),
        ("a%b#c&d$e", r"a\%b\#c\&d\$e"),
        ("β-VAE é", r"$\beta$-{}VAE é"),
        ("中\u202e", "(U+4E2D)"),
        ("a\nb", "a b"),
    ],
)
def test_escape(text, expected):
    assert latex.escape(text) == expected


def test_latex_escape_leaves_nothing_that_commands():
    # What remains after taking out the escapes is letters only.
    every = "".join(map(chr, range(32, 127)))
    rest = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#%_]|\{[]\[*]\}|-\{\}", "", latex.escape(every))
    assert not set(rest) & set(r"\{}$&#%_^~<>|\"`'-[]*")


def test_parquet_has_the_rows_and_types_of_the_csv(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    synthetic.write_grid(tmp_path, ("qlae",), seeds=2, companions=False)
    write_report(tmp_path, figures=False, formats=["csv", "parquet"])
    read = pd.read_parquet(tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(read, pd.read_csv(tmp_path / "results.csv", keep_default_na=False), check_dtype=False)
    assert read["value"].dtype == "float64"
    assert read["seed"].dtype == "int64"


def test_formats(tmp_path, monkeypatch):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=1, companions=False)
    report = write_report(tmp_path, figures=False, formats=["md"])
    assert [path.name for path in report.paths] == ["leaderboard.md", "CITATION.cff"]
    with pytest.raises(BenchError, match=r"unknown format 'latex'.*csv, md, parquet, tex"):
        write_report(tmp_path, formats=["latex"])
    with pytest.raises(BenchError, match=r"unknown grouping 'scores'\. Did you mean 'score'"):
        write_report(tmp_path, group_by="scores")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"needs pyarrow: pip install '\.\[parquet\]' in the checkout"):
        write_report(tmp_path, formats=["parquet"])
    assert "results.parquet" not in {path.name for path in write_report(tmp_path, figures=False).paths}


def test_groupings_show_the_same_numbers_in_other_places(tmp_path):
    for dataset in ("rooms3d", "shapes3d"):
        synthetic.write_grid(tmp_path, ("qlae", "vq_vae"), seeds=3, companions=False, dataset=dataset)
    board = leaderboard.leaderboard(score_table(load_records(tmp_path)))
    rows_by_grouping = {}
    for by, titles in (
        ("dataset", ["rooms3d, cpu", "shapes3d, cpu"]),
        ("model", ["qlae, cpu", "vq_vae, cpu"]),
        ("score", ["dci.disentanglement, cpu", "dci.completeness, cpu"]),
    ):
        sheet_list = list(sheets(board, by))
        assert [sheet.title for sheet in sheet_list][:2] == titles
        rows_by_grouping[by] = sorted(
            (row.dataset, row.model, row.score, row.mean) for sheet in sheet_list for row in sheet.cells.values()
        )
        write_report(tmp_path, figures=False, formats=["md", "tex"], group_by=by)
        (first, *_) = tables((tmp_path / "leaderboard.md").read_text(encoding="utf-8"))
        assert first[0][0] == sheet_list[0].corner
        assert first[0][2:] == [
            f"{column.name}{f' ({column.unit})' if column.unit else ''} {'↓' if column.direction == 'lower' else '↑'}"
            for column in sheet_list[0].columns.values()
        ]
    assert rows_by_grouping["dataset"] == rows_by_grouping["model"] == rows_by_grouping["score"]
    assert len(rows_by_grouping["dataset"]) == 2 * 2 * 8


def test_citation_names_version_and_a_digest_that_can_be_checked(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=2, companions=False)
    write_report(tmp_path, figures=False)
    digest = hashlib.sha256((tmp_path / "results.csv").read_bytes()).hexdigest()
    cff = yaml.safe_load((tmp_path / "CITATION.cff").read_text(encoding="utf-8"))
    assert cff["version"] == "0.1.0"
    assert cff["identifiers"][0]["value"] == f"sha256:{digest}"
    assert cff["date-released"] == "2026-11-24"
    for name in ("leaderboard.md", "leaderboard.tex"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert f"note = {{disentangle-bench 0.1.0; SHA-256 of results.csv: {digest}}}" in text
        assert "year = {2026}" in text


def test_a_hostile_version_breaks_no_citation(tmp_path):
    package = {"version": '1.0"\nevil: true\n\\}}', "commit": ""}
    synthetic.write_run(tmp_path, synthetic.spec(), package=package, finished="x")
    write_report(tmp_path, figures=False)
    cff = yaml.safe_load((tmp_path / "CITATION.cff").read_text(encoding="utf-8"))
    assert "evil" not in cff
    assert "note = {disentangle-bench 1.0 evil true ; SHA" in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_mean_ranks_csv_round_trips(tmp_path):
    synthetic.write_grid(tmp_path, seeds=3, companions=False)
    write_report(tmp_path, figures=False)
    read = pd.read_csv(tmp_path / "mean_ranks.csv", dtype=ranking.MEAN_DTYPES, keep_default_na=False,
                       na_values={"dataset_version": [""]})  # fmt: skip
    assert list(read.columns) == list(ranking.MEAN_DTYPES)
    assert read["place"].tolist() == sorted(read["place"])
    assert len(read) == 6


def test_published_numbers_ship_with_provenance():
    table = published.published()
    assert len(table) > 100
    assert (table["citation"] != "").all()
    assert set(table["provenance"]) == {"paper table", "authors' README", published.SECOND_HAND}
    assert table["mean"].notna().all()


def test_only_the_same_dataset_and_score_is_compared(tmp_path):
    published_grid(tmp_path)
    off = synthetic.spec("beta_vae", 0, dataset="shapes3d", changed=("model.beta",))
    synthetic.write_run(tmp_path, off)
    board = leaderboard.leaderboard(score_table(load_records(tmp_path)))
    comparison = published.compare(board)
    theirs = published.published().query("dataset == 'shapes3d'")
    theirs = theirs[theirs["metric"].isin(set(board["score"]))]
    assert len(comparison) == len(theirs)
    assert set(comparison["dataset"]) == {"shapes3d"}
    ours = comparison[comparison["n"] > 0]
    assert set(ours["model"]) == {"beta_tcvae", "qlae"}
    row = ours[(ours["model"] == "qlae") & (ours["score"] == "infomec.modularity")].iloc[0]
    mean = board.query("model == 'qlae' and score == 'infomec.modularity'")["mean"].iloc[0]
    assert row["mean"] == mean
    assert row["difference"] == pytest.approx(mean - row["published_mean"])
    board["dataset"] = "rooms3d"
    assert published.compare(board).empty


def test_second_hand_numbers_are_marked(tmp_path):
    published_grid(tmp_path)
    write_report(tmp_path, figures=False)
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    lines = [line for line in text.split("## Against published numbers")[1].splitlines() if line.startswith("| ")]
    second_hand = [line for line in lines if published.SECOND_HAND in line]
    assert len(second_hand) > 20
    assert all("†" in line for line in second_hand)
    assert not any("†" in line for line in lines if line not in second_hand)
    csv = pd.read_csv(tmp_path / "published.csv")
    assert csv["second_hand"].sum() == len(second_hand)


@pytest.mark.thorough
@pytest.mark.timing
def test_tables_of_a_large_grid_are_fast_and_small(tmp_path):
    """Of 12,600 runs: in 20 seconds of a processor, which on a busy machine is less than the clock's, and 1 GB."""
    for dataset in range(7):
        for model in range(60):
            for seed in range(30):
                synthetic.write_run(tmp_path, synthetic.spec(f"model{model}", seed, dataset=f"data{dataset}"))
    code = (
        "import resource, time, pathlib\nfrom disentangle_bench.report import write_report\n"
        f"write_report(pathlib.Path({str(tmp_path)!r}), figures=False)\n"
        "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, gigabytes = map(float, done.stdout.split())
    assert seconds < 20
    assert gigabytes < 1


def test_documentation_names_the_columns_of_the_further_tables():
    text = (Path(__file__).parents[2] / "docs" / "leaderboard_csv.md").read_text(encoding="utf-8")
    means = text.split("## mean_ranks.csv")[1].split("## published.csv")[0]
    rows = re.findall(r"^\| ([\w, ]+) \| (\w+) \|", means, flags=re.MULTILINE)[1:]
    assert [(name, kind) for names, kind in rows for name in names.split(", ")] == list(ranking.MEAN_DTYPES.items())
    for name in ("published_mean", "published_std", "published_n", "difference", "second_hand", "citation", "remark"):
        assert name in published.COLUMNS
        assert f"`{name}`" in text
