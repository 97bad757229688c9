"""Write ``leaderboard.md``: the leaderboard for readers, with what is not ranked, what failed and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import one_line
from disentangle_bench.report import labels
from disentangle_bench.report.leaderboard import FEW, NOTES
from disentangle_bench.report.scores import SETUP
from disentangle_bench.report.tables.sheet import ARROWS, Sheet, sheets

if TYPE_CHECKING:
    import pandas as pd

_INTRODUCTION = """# Leaderboard

Each cell is the mean over seeds and its 95 % bootstrap interval. An arrow says whether higher (↑) or lower (↓) is
better, none that the score is no contest; the best of the ranked models is bold. Numbers of different datasets,
protocols, models, settings, metric variants or versions of any of these are never pooled: they have rows, columns or
tables of their own. The same numbers, with more statistics, are in `leaderboard.csv`, those of single runs in
`results.csv`.
"""

_MEAN_RANKS = """A contest is a score on a dataset in which two models or more are ranked. The mean rank is over all
contests, among the models that are ranked in every one of them, with its 95 % bootstrap interval over seeds; Borda
points are the models beaten, summed over contests. Every score counts the same: name those that matter to you with
`--metrics`.
"""

_GROUPS = """## Across seeds

One number of all runs of a model: how much the codes of different seeds agree. Chance is the same on codes whose rows
are in random order.
"""

_PUBLISHED = """## Against published numbers

Protocols, architectures, tuning and metric code differ between papers and from ours: a difference is no error of
either. Published is mean ± the paper's spread and its seeds. † marks numbers that were not read in the paper that
measured them but in one that quotes it, or in its reviews.
"""

LONGEST = 300
"""Largest number of characters shown of an error's text."""


def escape(text: object) -> str:
    """Return text from a record as plain text in Markdown: on one line, without markup, HTML or the end of a cell."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|\[\]#~$!])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def cell(row: Any, decimals: int) -> str:
    """Return the mean and interval of a leaderboard's row: ``0.512 [0.480, 0.544]``. One seed shows no interval."""
    if row.n == 0:
        return "undefined"
    if row.n == 1:
        return f"{row.mean:.{decimals}f}"
    return f"{row.mean:.{decimals}f} [{row.ci_low:.{decimals}f}, {row.ci_high:.{decimals}f}]"


def text(
    board: pd.DataFrame,
    scores: pd.DataFrame,
    failures: Sequence[dict[str, Any]] = (),
    unfinished: Sequence[str] = (),
    *,
    by: str = "dataset",
    means: pd.DataFrame | None = None,
    further: Sequence[str] = (),
) -> str:
    """Return the text of the whole file.

    ``board`` is the leaderboard of ``scores``, and ``means`` are its mean ranks. ``by`` is as for ``sheets``.
    ``unfinished`` are names of run folders, and ``further`` are sections to add at the end.
    """
    seeds = dict(labels.tables(scores))
    parts = [_INTRODUCTION]
    if by == "dataset":
        for sheet, (title, rows) in zip(sheets(board), labels.tables(board), strict=True):
            parts += [f"## {escape(title)}\n", _table(sheet), *_list(remarks(rows, seeds[title]))]
    else:
        for sheet in sheets(board, by):
            parts += [f"## {escape(sheet.title)}\n", _table(sheet)]
        for title, rows in labels.tables(board):
            if sentences := remarks(rows, seeds[title]):
                parts += [f"## Remarks on {escape(title)}\n", *_list(sentences)]
    if means is not None and len(means):
        parts += ["## Mean ranks\n", _MEAN_RANKS, *_mean_ranks(means)]
    if failures:
        parts.append("## Failed runs\n\nThey are in no table; running the grid again retries them.\n")
        parts.append("".join(f"- {escape(item.get('run_id'))}: {_error(item)}\n" for item in failures))
    if unfinished:
        parts.append("## Unfinished runs\n\nThey are in no table; running the grid again continues them.\n")
        parts.append("".join(f"- {escape(name)}\n" for name in unfinished))
    return "\n".join([*parts, *further])


def citation(bibtex: str) -> str:
    """Return the section that says how to cite the results."""
    return f"## Cite\n\n`sha256sum results.csv` gives the digest in the note.\n\n```bibtex\n{bibtex}```\n"


def groups(table: pd.DataFrame) -> str:
    """Return the section on scores of groups of runs (``groups.read_groups``); empty if there are none."""
    if table.empty:
        return ""
    parts = [_GROUPS]
    for title, rows in labels.tables(table):
        names = labels.setup_names(rows)
        parts.append(
            f"### {escape(title)}\n\n| score | model | n | value | chance |\n| --- | --- | ---: | ---: | ---: |\n"
        )
        for row in labels.rows_of(rows):
            name = names[tuple(getattr(row, part) for part in SETUP)]
            value, chance = ("—" if number != number else f"{number:.3f}" for number in (row.value, row.chance))
            parts[-1] += (
                f"| {escape(row.score)} {ARROWS[row.direction]} | {escape(name)} | {row.n} | {value} | {chance} |\n"
            )
    return "\n".join(parts)


def published(comparison: pd.DataFrame) -> str:
    """Return the section on published numbers; empty if there is nothing to compare."""
    if comparison.empty:
        return ""
    parts = [_PUBLISHED]
    for (protocol, dataset), rows in comparison.groupby(["protocol", "dataset"], sort=False):
        parts.append(f"### {escape(dataset)}, {escape(protocol)}\n\n| score | model | ours | published | source |\n"
                     "| --- | --- | --- | --- | --- |\n")  # fmt: skip
        for row in labels.rows_of(rows):
            ours = f"{cell(row, 3)} (n={row.n})" if row.n else "—"
            parts[-1] += f"| {escape(row.score)} | {escape(row.model)} | {ours} | {_theirs(row)} | {_source(row)} |\n"
    return "\n".join(parts)


def _theirs(row: object) -> str:
    """Return the published number of a comparison's row: ``0.353 ± 0.091 (n=10) †``."""
    mean, std, n, second_hand = (
        getattr(row, name) for name in ("published_mean", "published_std", "published_n", "second_hand")
    )
    deviation = f" ± {std:.3f}" if std == std else ""
    seeds = f" (n={n:.0f})" if n == n else ""
    return f"{mean:.3f}{deviation}{seeds}{' †' if second_hand else ''}"


def _source(row: object) -> str:
    citation, provenance, remark = (escape(getattr(row, name)) for name in ("citation", "provenance", "remark"))
    return f"{citation} ({provenance}{f'; {remark}' if remark else ''})"


def _mean_ranks(means: pd.DataFrame) -> Iterator[str]:
    for (protocol, version, dataset, of), rows in means.groupby(
        ["protocol", "protocol_version", "dataset", "dataset_version"], dropna=False
    ):
        several = means[means["protocol"] == protocol]["protocol_version"].nunique() > 1
        copies = means[means["dataset"] == dataset]["dataset_version"].nunique() > 1
        datasets = f"{dataset} v{of}" if copies else dataset or "all datasets"
        title = f"{datasets}, {protocol} v{version}" if several else f"{datasets}, {protocol}"
        lines = [
            f"### {escape(title)}\n\n",
            "| place | model | mean rank | Borda points | contests |\n| ---: | --- | --- | ---: | ---: |\n",
        ]
        shared = rows["model"].value_counts()
        for row in labels.rows_of(rows):
            name = row.model if shared[row.model] == 1 else f"{row.model} v{row.model_version} {row.settings}".rstrip()
            rank = f"{row.mean_rank:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"
            lines.append(f"| {row.place} | {escape(name)} | {rank} | {row.borda:g} | {row.contests} |\n")
        yield "".join(lines)


def _error(failure: dict[str, Any]) -> str:
    error = one_line(failure.get("error") or "unknown error")
    return escape(error if len(error) <= LONGEST else error[:LONGEST] + "…")


def _table(sheet: Sheet) -> str:
    heads = []
    for column in sheet.columns.values():
        unit = f" ({escape(column.unit)})" if column.unit else ""
        heads.append(f"{escape(column.name)}{unit} {ARROWS[column.direction]}".rstrip())
    lines = [[sheet.corner, "n", *heads], ["---", "---:", *["---"] * len(heads)]]
    for key, name in sheet.rows.items():
        line = [escape(name), str(sheet.seeds[key])]
        for column_key, column in sheet.columns.items():
            row = sheet.cells.get((key, column_key))
            if row is None:
                line.append("—")
                continue
            content = cell(row, column.decimals)
            content = f"**{content}**" if not row.note and row.rank == 1 else content
            line.append(content if row.n == sheet.seeds[key] or row.n == 0 else f"{content} (n={row.n})")
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def remarks(rows: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Return sentences of plain text on what is not ranked and why, which seeds are missing, and what is not pooled."""
    setups = labels.setup_names(rows)
    notes: dict[str, dict[str, None]] = {}
    for row in labels.rows_of(rows):
        name = setups[tuple(getattr(row, part) for part in SETUP)]
        for word in row.note.split():
            if word == "undefined" and row.direction == "none":
                continue  # it would have no rank anyway, and the table shows it
            if word == FEW and row.undefined:
                continue  # there are enough seeds, but the score is not defined for all of them
            notes.setdefault(word, {})[_named(word, name, row.score)] = None
    sentences = []
    for word, reason in NOTES.items():
        if word == "unranked-protocol" and word in notes:
            sentences.append(f"{reason}.")
        elif word in notes:
            sentences.append(f"{reason}: {', '.join(notes[word])}.")
    sentences += _at_chance(rows, setups)
    sentences += _missing_seeds(scores, setups) + _collapsed(scores, setups)
    if len(set(scores["package_version"])) > 1:
        sentences.append(f"Made with the package versions {', '.join(sorted(set(scores.package_version)))}.")
    if len(labels.score_names(rows)) > rows["score"].nunique():
        sentences.append("Scores of several variants or metric versions are present; they have columns of their own.")
    if rows[["model", "changed"]].drop_duplicates().shape[0] < len(setups):
        sentences.append("One model is present in several versions or settings; each has a row of its own.")
    return sentences


def _list(items: list[str]) -> list[str]:
    return ["".join(f"- {escape(item)}\n" for item in items)] if items else []


def _named(word: str, setup: str, score: str) -> str:
    """Return the name of what a word in a note is about: a setup, a score, or both."""
    return {"undefined": f"{setup}: {score}", "descriptive": score}.get(word, setup)


def _at_chance(rows: pd.DataFrame, setups: dict[tuple, str]) -> list[str]:
    """Return a sentence for each score, naming the models whose interval reaches its chance level.

    The chance level is the score of codes in a different order than their images.
    """
    names: dict[str, list[str]] = {}
    for row in labels.rows_of(rows):
        lower = row.direction == "lower"
        if row.n and row.direction != "none" and (row.ci_high >= row.chance if lower else row.ci_low <= row.chance):
            names.setdefault(row.score, []).append(setups[tuple(getattr(row, part) for part in SETUP)])
    return [f"{score} is at its chance level, that of codes in random order, for {', '.join(models)}."
            for score, models in names.items()]  # fmt: skip


def _missing_seeds(scores: pd.DataFrame, setups: dict[tuple, str]) -> list[str]:
    """Return a sentence for each set of seeds that setups on protocol lack but another, tuned alike, has."""
    present: dict[Any, set[int]] = scores[~scores["off_protocol"]].groupby(SETUP)["seed"].agg(set).to_dict()
    names: dict[str, list[str]] = {}
    for setup, name in setups.items():
        every = set().union(*(seeds for key, seeds in present.items() if key[2] == setup[2]))
        if setup in present and (missing := every - present[setup]):
            names.setdefault(labels.seeds(missing), []).append(name)
    return [f"{', '.join(models)} {'lack' if len(models) > 1 else 'lacks'} {missing}, which others have."
            for missing, models in names.items()]  # fmt: skip


def _collapsed(scores: pd.DataFrame, setups: dict[tuple, str]) -> list[str]:
    """Return a sentence for each setup with runs that ended with no active latent, which its means count but hide."""
    dead = scores[(scores["score"] == "latents.active") & (scores["value"] == 0)].groupby(SETUP)["seed"].agg(set)
    return [
        f"{setups[setup]} ended with no active latent (collapsed) for {labels.seeds(dead[setup])}, "
        "which its means count like any other."
        for setup in setups
        if setup in dead.index
    ]
