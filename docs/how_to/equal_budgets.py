"""Writes the results of the example into ``equal_budgets.md``, and draws its figures, from the runs of its search and
its final runs:

    python docs/how_to/equal_budgets.py [SEARCH FINAL]
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from disentangle_bench.atomic import write_text
from disentangle_bench.config.search import read_selection
from disentangle_bench.report import write_report
from disentangle_bench.store.runs import Record, load_records

PAGE = Path(__file__).with_suffix(".md")
SHIPPED = Path(__file__).parents[2] / "results" / "shipped"
EXAMPLE = SHIPPED / "dsprites_rendered-search", SHIPPED / "dsprites_rendered-tuned"
MARKED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)

SCORES = {"mse.mse": 5, "dci.disentanglement": 3, "infomec.modularity": 3, "infomec.explicitness": 3}
"""The scores that are shown, with their decimals."""


def _rows(folder: Path) -> pd.DataFrame:
    """Return one row per run and score."""
    records: list[Record] = load_records(folder)
    return pd.DataFrame(
        {
            "model": record.spec.model,
            "seed": record.spec.seed,
            "point": record.spec.search.point if record.spec.search else None,
            "tuned": record.spec.tuned is not None,
            "score": f"{score['metric']}.{score['score']}",
            "value": score["value"],
        }
        for record in records
        for score in record.scores
    )


def search_table(search: Path) -> str:
    """Return the Markdown table of the search: a row per model, with the error of its points and what was selected."""
    rows = _rows(search)
    errors = rows[rows["score"] == "mse.mse"].pivot(index="model", columns="point", values="value")
    selected = {one.model: one for one in read_selection(search / "selected" / "mse.toml").selected}
    lines = [
        "| Model | MSE of the default | best of the search | worst | Selected |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for model, own in errors.iterrows():
        one = selected[str(model)]
        settings = ", ".join(f"`{name}={_short(value)}`" for name, value in one.settings.items()) or "the default"
        lines.append(f"| {model} | {own[0]:.5f} | {own.min():.5f} | {own.max():.5f} | {settings} |")
    return "\n".join(lines)


def final_table(final: Path) -> str:
    """Return the Markdown table of the final runs: means of the default and of the tuned model over the same seeds."""
    rows = _rows(final)
    # A seed that some rows still lack would make means of different seeds.
    complete = rows.groupby("seed")[["model", "tuned"]].apply(lambda own: len(own.drop_duplicates()))
    rows = rows[rows["seed"].isin(complete[complete == complete.max()].index)]
    means = rows.groupby(["model", "score", "tuned"])["value"].mean()
    seeds = rows["seed"].nunique()
    count = f"{seeds} seed{'s' * (seeds > 1)}"
    heads = " | ".join(f"`{score}` default | tuned" for score in SCORES)
    lines = [f"| Model, {count} | {heads} |", f"| --- |{' ---: |' * 2 * len(SCORES)}"]
    for model in means.index.unique("model"):
        pairs = [(means[model, score, False], means[model, score, True]) for score in SCORES]
        cells = [f"{value:z.{SCORES[score]}f}" for score, pair in zip(SCORES, pairs, strict=True) for value in pair]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def page(search: Path, final: Path) -> str:
    """Return the page as it should be."""
    measured = f"{search_table(search)}\n\n{final_table(final)}\n"
    return MARKED.sub(lambda match: f"{match[1]}{measured}{match[2]}", PAGE.read_text(encoding="utf-8"))


def draw(search: Path, final: Path) -> None:
    """Draw the two figures of the page."""
    for folder, name in ((search, "budget"), (final, "scores")):
        with tempfile.TemporaryDirectory() as scratch:
            copy = shutil.copytree(folder, Path(scratch) / "results")
            write_report(copy)
            (drawn,) = copy.glob(f"figures/*/{name}.png")
            shutil.copyfile(drawn, PAGE.parent / f"equal_budgets_{name}.png")


if __name__ == "__main__":
    folders = (Path(sys.argv[1]), Path(sys.argv[2])) if len(sys.argv) == 3 else EXAMPLE
    draw(*folders)
    write_text(PAGE, page(*folders))
