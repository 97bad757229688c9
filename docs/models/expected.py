"""Writes the measured numbers into the models' pages, from the records that are shipped.

    python docs/models/expected.py [RESULTS]

Each page has the place for them between two comments; ``index.md`` has the table of all models.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.atomic import write_text
from disentangle_bench.store.runs import load_records, tidy

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
SHIPPED = HERE.parent.parent / "results" / "shipped" / "rooms3d-cpu"
SCORES = {
    "dci.disentanglement": 3,
    "dci.completeness": 3,
    "dci.informativeness": 3,
    "infomec.modularity": 3,
    "infomec.explicitness": 3,
    "infomec.compactness": 3,
    "mse.mse": 5,
}
"""The scores that are shown, with their decimals."""

PLACE = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)


def scores(results: Path) -> pd.DataFrame:
    """One row per model and score, in the order of ``SCORES``; a column per seed."""
    table = tidy(load_records(results))
    table = table[table["score"].isin(SCORES) & ~table["off_protocol"]]
    return table.pivot(index=["model", "score"], columns="seed", values="value")


def page_table(table: pd.DataFrame, model: str) -> str:
    """The Markdown table of one model, with the mean of its seeds if there are several."""
    own = table.loc[model].dropna(axis="columns", how="all").rename(columns="seed {}".format)
    if len(own.columns) > 1:
        own = own.assign(mean=own.mean(axis=1))
    lines = [f"| score | {' | '.join(own.columns)} |", f"| --- |{' ---: |' * len(own.columns)}"]
    for score, decimals in SCORES.items():
        values = own.loc[score]
        lines.append(f"| `{score}` | {' | '.join(f'{value:.{decimals}f}' for value in values)} |")
    return "\n".join(lines)


def index_table(table: pd.DataFrame) -> str:
    """The Markdown table of all models' means, the best of each score in bold."""
    means = table.mean(axis=1).unstack("score")[list(SCORES)]
    best = {score: means[score].min() if score == "mse.mse" else means[score].max() for score in SCORES}
    seeds = table.notna().groupby("model").any().sum(axis=1)
    lines = [f"| model | {' | '.join(f'`{score}`' for score in SCORES)} | seeds |"]
    lines += [f"| --- |{' ---: |' * (len(SCORES) + 1)}"]
    for model, row in means.iterrows():
        cells = [f"{row[score]:.{decimals}f}" for score, decimals in SCORES.items()]
        cells = [f"**{c}**" if row[s] == best[s] else c for c, s in zip(cells, SCORES, strict=True)]
        lines.append(f"| [{model}]({model}.md) | {' | '.join(cells)} | {seeds[model]} |")
    return "\n".join(lines)


def written(text: str, table: str) -> str:
    """A page with the table at its place."""
    return PLACE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def pages(results: Path) -> dict[Path, str]:
    """Every page that has numbers, as it should be."""
    table = scores(results)
    tables = {HERE / f"{model}.md": page_table(table, model) for model in table.index.unique("model")}
    tables[HERE / "index.md"] = index_table(table)
    return {page: written(page.read_text(encoding="utf-8"), table_text) for page, table_text in tables.items()}


if __name__ == "__main__":
    for page, text in pages(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED).items():
        write_text(page, text)
        print(page)
