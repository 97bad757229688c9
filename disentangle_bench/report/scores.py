"""Turn run records into one table of scores that is ready for grouping, and define which runs may be pooled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import one_line, unknown
from disentangle_bench.registry import METRICS
from disentangle_bench.spec import RunSpec, digest_of, flat

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.store.runs import Record

TABLE = ["dataset", "dataset_version", "protocol", "protocol_version"]
"""Runs that agree in these columns are in the same table."""
SETUP = ["model", "model_version", "changed", "settings"]
"""Within a table, runs that agree in these columns differ only in their seed."""
SCORE = ["metric", "score", "variant", "metric_version"]
"""Values that agree in these columns are of one kind. Nothing is ever pooled across TABLE, SETUP or SCORE."""
GROUP = TABLE + SETUP + SCORE

_COLUMNS = [*TABLE, *SETUP, "seed", "run_id", "ranked", "off_protocol", "package_version", "finished"]
_SCORE_COLUMNS = [*SCORE, "higher_is_better", "descriptive", "unit", "value", "chance"]


def settings_digest(spec: RunSpec, package_version: str = "") -> str:
    """Return ten hexadecimal digits that two runs share if and only if they differ in nothing but their seed.

    Such runs have the same training and the same sample. The digits are computed from the spec without the seed and
    without the metrics' variants, which every score carries itself, and from ``package_version`` if it is given. They
    keep ``--set model.gamma=1`` and ``--set model.gamma=4`` apart.
    """
    content = spec.identity()
    del content["seed"], content["scoring"]["metrics"]
    if package_version:
        content["package_version"] = package_version
    return digest_of(content)[:10]


def _changed(spec: RunSpec) -> str:
    """Return how the settings were tuned and what was changed by hand; empty for a run at its baseline."""
    values = flat(spec)
    return " ".join(f"{name}={values[name]}" if name in values else name for name in spec.departures)


def dataset_names(records: Iterable[Record]) -> dict[tuple[str, int], str]:
    """Return the names of datasets that are files, by file name and version, in the form that ``run_row`` expects.

    A dataset has its file's name, preceded by the folders that tell it apart if files with other content share that
    name.
    """
    files: dict[str, dict[int, list[str]]] = {}
    for spec in (record.spec for record in records):
        if spec.dataset != spec.dataset_name:
            files.setdefault(spec.dataset_name, {}).setdefault(spec.dataset_version, spec.dataset.split("/"))
    names: dict[tuple[str, int], str] = {}
    for name, paths in files.items():
        ends = [{version: "/".join(parts[-k:]) for version, parts in paths.items()} for k in range(1, 10)]
        most = max(len(set(end.values())) for end in ends)
        shortest = next(end for end in ends if len(set(end.values())) == most)
        names |= {(name, version): end for version, end in shortest.items()}
    return names


def run_row(record: Record, by_version: bool, names: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """Return the facts of one run without its scores, each text on one line except ``run_id``, its folder's name.

    ``names`` is the result of ``dataset_names``.
    """
    spec, content = record.spec, record.content
    version = str(content.get("package", {}).get("version", ""))
    row: dict[str, Any] = {
        "dataset": names.get((spec.dataset_name, spec.dataset_version), spec.dataset),
        "dataset_version": spec.dataset_version,
        "protocol": spec.protocol,
        "protocol_version": spec.protocol_version,
        "model": spec.model,
        "model_version": spec.model_version,
        "changed": _changed(spec),
        "settings": settings_digest(spec, version if by_version else ""),
        "seed": spec.seed,
        "ranked": bool(content.get("ranked", False)),
        "off_protocol": bool(spec.changed),
        "package_version": version,
        "finished": content.get("finished") or "",
    }
    row = {name: one_line(value) if isinstance(value, str) else value for name, value in row.items()}
    return row | {"run_id": record.folder.name}


def score_table(
    records: Sequence[Record], metrics: Sequence[str] | None = None, *, by_version: bool = False
) -> pd.DataFrame:
    """Return one row per run and score, with the columns of TABLE, SETUP, SCORE, the seed, the value and its origin.

    ``metrics`` selects scores by the names of metrics (``dci``), of single scores (``dci.disentanglement``) and of
    groups (``all``); a group stands for those of its metrics that are present, and a name that no record has is an
    error. If several runs differ only in the metrics they were scored with, each seed counts once: the run that
    finished last is kept. Versions of models, datasets, protocols and metrics decide what may be pooled; ``by_version``
    also keeps runs of different versions of the package apart.
    """
    import pandas as pd

    names = dataset_names(records)
    runs = pd.DataFrame([run_row(record, by_version, names) for record in records], columns=_COLUMNS)
    scores = [[_score_row(score) for score in record.scores] for record in records]
    table = runs.loc[runs.index.repeat([len(rows) for rows in scores])].reset_index(drop=True)
    columns = pd.DataFrame(list(itertools.chain.from_iterable(scores)), columns=_SCORE_COLUMNS)
    for name in ("metric", "score", "variant", "unit"):
        columns[name] = columns[name].map({text: one_line(text) for text in columns[name].unique()})
    table = pd.concat([table, columns], axis=1).astype({"value": "float64", "chance": "float64"})
    if metrics is not None:
        table = table[_chosen(table, metrics)]
    table = table.sort_values([*GROUP, "seed", "finished", "run_id"], kind="stable")
    return table.drop_duplicates([*GROUP, "seed"], keep="last").reset_index(drop=True)


def _score_row(score: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of ``_SCORE_COLUMNS`` for one score of a record."""
    return (
        score["metric"],
        f"{score['metric']}.{score['score']}",
        score["variant"],
        score["version"],
        bool(score["higher_is_better"]),
        not score.get("ranked", True),
        score.get("unit") or "",
        score["value"],
        _number(score.get("chance")),
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _chosen(table: pd.DataFrame, words: Sequence[str]) -> pd.Series:
    """Return a mask of the rows that the names in ``metrics`` select."""
    known, single = set(table["metric"]), set(table["score"])
    names: set[str] = set()
    for word in words:
        matches = {word} & known or {word} & single
        if not matches:
            matches = {entry.name for entry in METRICS.entries.values() if entry.group == word} & known
        if not matches:
            raise unknown("metric", word, known)
        names |= matches
    return table["metric"].isin(names) | table["score"].isin(names)
