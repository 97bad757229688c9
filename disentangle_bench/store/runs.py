"""Run folders and their records: one JSON file per run, read many at a time, and the tidy table of all scores.

A results folder holds ``runs/<run_id>/`` for every run and the tables made from them. A run's folder holds
``record.json`` (the run is finished) or ``failed.json`` (it failed), and beside it what is needed to resume
(``checkpoint.pt``), to score again (``codes.npz``) and to draw again (``history.csv``, ``matrices.npz``,
``pictures.npz``, ``model.safetensors``).
"""

from __future__ import annotations

import itertools
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench import plugins
from disentangle_bench.atomic import atomic_path
from disentangle_bench.config import protocols
from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.spec import RunSpec, digest_of
from disentangle_bench.store import schema
from disentangle_bench.store.files import SCHEMA, check_results, digest, finite, read_json, safe_cells, write_json

if TYPE_CHECKING:
    import pandas as pd

RECORD, FAILED, SPEC = "record.json", "failed.json", "spec.json"


@dataclass(frozen=True)
class Record:
    """One finished run: its folder and the content of its ``record.json``."""

    folder: Path
    content: dict[str, Any]
    _checked: RunSpec | None = field(default=None, compare=False, repr=False)

    @cached_property
    def spec(self) -> RunSpec:
        """Spec of the run."""
        return self._checked or RunSpec.model_validate(self.content["spec"])

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        """One dictionary per score: metric, score, value (NaN where undefined), direction, variant, version."""
        return [
            score | {"value": math.nan if score["value"] is None else score["value"]}
            for score in self.content["scores"]
        ]


@dataclass(frozen=True)
class Records:
    """Finished runs of a results folder, in the order of their names, and its records that cannot be used.

    ``problems`` has one line for each unusable record, which names the file, by the name of the run's folder.
    """

    records: list[Record]
    problems: dict[str, str]

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the finished runs' folders."""
        return frozenset(record.folder.name for record in self.records)


def run_folder(out: Path, spec: RunSpec) -> Path:
    """Return the folder of a run within a results folder."""
    return out / "runs" / spec.run_id


def is_finished(folder: Path) -> bool:
    """Return whether the run in this folder has a record that can be used."""
    try:
        read_record(folder)
    except (FileNotFoundError, BenchError):
        return False
    return True


def has_failed(folder: Path) -> bool:
    """Return whether the last attempt at the run in this folder failed."""
    return os.path.lexists(folder / FAILED) and not is_finished(folder)


def read_record(folder: Path) -> Record:
    """Return the record of the run in ``folder``.

    Raises ``FileNotFoundError`` if there is none, and ``BenchError``, in one line that names the file, if it is
    damaged, edited, foreign or of a newer schema.
    """
    path = folder / RECORD
    content = read_json(path)
    checked = schema.check(path, content)
    if checked.spec.digest != checked.digest:
        raise BenchError(f"{path} was edited: its spec does not have the digest in it. Delete it and run again")
    if "checksum" in content and content["checksum"] != checksum(content):
        raise BenchError(f"{path} was edited: its content does not have the checksum in it. Delete it and run again")
    protocol = protocols.built_in(checked.spec.protocol)
    unranked = protocol is not None and protocol.version == checked.spec.protocol_version and not protocol.ranked
    if checked.ranked and (unranked or checked.spec.changed):
        raise BenchError(f"{path} was edited: its spec cannot be ranked. Delete it and run again")
    return Record(folder, content, checked.spec)


def read_records(out: Path, known: Mapping[str, Record] | None = None) -> Records:
    """Return all finished runs of a results folder, and what is wrong with records that cannot be used.

    Records in ``known``, a mapping by the names of their folders, are not read again.

    Raises ``BenchError`` if the folder is missing, or was not made by ``dbench run``.
    """
    check_results(out)
    records, problems = [], {}
    known = known or {}
    for folder in run_folders(out):
        try:
            records.append(known.get(folder.name) or read_record(folder))
        except FileNotFoundError:
            continue
        except BenchError as error:
            problems[folder.name] = one_line(error)
    return Records(records, problems)


def load_records(out: Path) -> list[Record]:
    """Return all finished runs of a results folder, except those whose record cannot be used."""
    return read_records(out).records


def run_folders(out: Path) -> list[Path]:
    """Return the folders of all runs that have begun in a results folder, sorted, without hidden, temporary ones."""
    with os.scandir(out / "runs") as entries:
        return [out / "runs" / entry.name for entry in sorted(entries, key=_name) if _is_run(entry)]


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_run(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:  # a circular link
        return False


def checksum(content: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of a record's content, without the checksum in it."""
    return digest_of(finite({key: value for key, value in content.items() if key != "checksum"}))


def write_record(folder: Path, content: dict[str, Any]) -> None:
    """Write a run's ``record.json`` with its checksum: from now on the run is finished."""
    write_json(folder / RECORD, content | {"checksum": checksum(content)})


def check_file(record: Record, name: str) -> Path:
    """Return the path of a file beside a record, such as ``codes.npz`` or ``model.safetensors``.

    Raises ``BenchError`` if it is missing, or is not the file that was written: a record holds the SHA-256 of codes and
    weights, unless an early version wrote it.
    """
    path = record.folder / name
    again = "run the same dbench run with --rerun all to have it again"
    if record.spec.external:
        again = "the run's codes come from elsewhere, and dbench import keeps only codes.npz"
    if not path.is_file():
        raise BenchError(f"there is no file {str(path)!r}: {again}")
    expected = record.content.get("files", {}).get(name)
    if expected is not None and digest(path) != expected:
        raise BenchError(f"{path} is damaged, its SHA-256 is not that in the record: {again}")
    return path


def set_aside(folder: Path) -> None:
    """Rename a record that cannot be used, so that the run can be done again and nothing is lost."""
    if os.path.lexists(folder / RECORD):
        names = (folder / f"record.damaged-{number}.json" for number in itertools.count(1))
        (folder / RECORD).rename(next(name for name in names if not os.path.lexists(name)))


def read_failure(folder: Path) -> dict[str, Any]:
    """Return what a failed run's ``failed.json`` says, as far as it can be read: error, traceback, command and spec."""
    try:
        content = read_json(folder / FAILED)
    except (OSError, BenchError):
        content = {"error": f"{FAILED} cannot be read"}
    texts = {key: content.get(key) for key in ("error", "traceback", "command")}
    texts = {key: text if isinstance(text, str) else "" for key, text in texts.items()}
    spec = content.get("spec")
    return texts | {"run_id": folder.name, "spec": spec if isinstance(spec, dict) else {}}


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """Return a table with one row per run and score: what was run, on what, and the number."""
    import pandas as pd

    rows = []
    for record in records:
        content, spec = record.content, record.spec
        run = {
            "run_id": record.folder.name,
            **spec.subject,
            "off_protocol": bool(spec.changed),
            "changed": " ".join(spec.departures),
            "seed": spec.seed,
        }
        for score in record.scores:
            row = {
                "metric": score["metric"],
                "score": f"{score['metric']}.{score['score']}",
                "value": score["value"],
                "higher_is_better": score["higher_is_better"],
                "variant": score["variant"],
                "metric_version": score["version"],
            }
            rows.append(run | row | {"package_version": content["package"]["version"]})
    return pd.DataFrame(rows, columns=None if rows else ["run_id", "model", "dataset", "protocol", "seed", "score"])


def write_results(out: Path, records: Iterable[Record] | None = None) -> Path:
    """Write ``results.csv``, the tidy table of the folder's ``records`` (read if not given), and return its path."""
    target = out / "results.csv"
    table = safe_cells(tidy(load_records(out) if records is None else records))
    with atomic_path(target) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return target


def write_failure(
    folder: Path, spec: RunSpec, error: str, details: str, out: Path, options: Sequence[str] = ()
) -> None:
    """Write ``failed.json``: the error in one line, the whole traceback, and the command that repeats this one run.

    ``options`` are further options of that command.
    """
    content = {
        "schema": SCHEMA,
        "run_id": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "error": error,
        "traceback": details,
        "command": command(spec, out, options),
    }
    write_json(folder / FAILED, content)


def command(spec: RunSpec, out: Path, options: Sequence[str] = ()) -> str:
    """Return the command that does this one run, with further ``options``."""
    if spec.tuned or spec.search:
        return shlex.join(["dbench", "worker", spec.run_id, "--out", str(out)])

    def word(name: str) -> str:
        file = spec.files.get(name)
        return name if file is None else f"{out / plugins.FOLDER / file.sha256}.py:{name.partition('@')[0]}"

    models, datasets = word(spec.model), word(spec.dataset)
    arguments = ["dbench", "run", "--models", models, "--datasets", datasets, "--protocol"]
    arguments += [protocols.option(spec.protocol, out / plugins.FOLDER), "--seeds", f"{spec.seed}-{spec.seed}"]
    arguments += ["--out", str(out)]
    for change in spec.changed:
        key, _, value = change.partition("=")
        arguments += ["--set", f"{key}={word(value)}"]
    # A path may hold bytes that are not text, which neither JSON nor UTF-8 can.
    return shlex.join([*arguments, *options]).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
