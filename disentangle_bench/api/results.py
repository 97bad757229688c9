"""A results folder in Python: its runs, their scores, codes and trained models."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import BenchError, torch_needed
from disentangle_bench.spec import RunSpec
from disentangle_bench.store import runs
from disentangle_bench.store.runs import Record, Records

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.api.trained import TrainedModel
    from disentangle_bench.codes import Codes, Evaluation
    from disentangle_bench.data.dataset import Dataset
    from disentangle_bench.report import Report


class Run:
    """One finished run: its spec, its scores, and the files that it left in ``folder``. ``record`` is what they are
    read from.
    """

    def __init__(self, record: Record) -> None:
        self.record = record

    def _activate(self) -> None:
        from disentangle_bench.registry import activate

        activate(self.spec, self.folder.parent.parent)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.record.folder

    @property
    def spec(self) -> RunSpec:
        """Everything that decides the run's numbers: model, dataset, protocol, seed and all settings."""
        return self.record.spec

    @cached_property
    def scores(self) -> dict[str, float]:
        """Scores by name, such as ``"dci.disentanglement"``; of several variants, that of the run's own spec."""
        own = self.spec.scoring.metrics
        rows = sorted(self.record.scores, key=lambda row: own.get(row["metric"]) == row["variant"])
        return {f"{row['metric']}.{row['score']}": row["value"] for row in rows}

    @property
    def history(self) -> pd.DataFrame:
        """Losses and logs of up to 100 updates: a row each, with its ``step``.

        Raises ``BenchError`` if the run left none, as codes from elsewhere do.
        """
        import pandas as pd

        return pd.read_csv(self._file("history.csv"))

    def codes(self) -> Codes:
        """Return the codes of the evaluation images: ``values`` [n, d], and ``indices`` [n, d] of a discrete model.

        Raises ``BenchError`` if the file is missing or damaged.
        """
        import numpy as np

        from disentangle_bench.codes import Codes

        with np.load(self._file("codes.npz"), allow_pickle=False) as file:
            return Codes(file["codes"], file["indices"] if "indices" in file.files else None)

    def evaluation(self) -> Evaluation:
        """Return the codes with the images' factors [n, k] and squared errors [n], as metrics get them.

        Raises ``BenchError`` if the file is missing or damaged.
        """
        from disentangle_bench.scoring.files import load_evaluation

        return load_evaluation(self._file("codes.npz"))

    def dataset(self, data_dir: str | None = None) -> Dataset:
        """Return the dataset; ``data_dir`` is its folder if that is not the default one.

        Raises ``BenchError`` if its files are missing: dbench data prepare NAME gets them.
        """
        from disentangle_bench.data.files import data_folder
        from disentangle_bench.registry import dataset_class

        self._activate()
        return dataset_class(self.spec.dataset).load(data_folder(data_dir))

    def model(self, device: str = "cpu", data_dir: str | None = None) -> TrainedModel:
        """Return the trained model in evaluation mode, on ``device``; ``data_dir`` is as for ``dataset``.

        Raises ``BenchError`` if the weights or the dataset are missing or damaged.
        """
        with torch_needed():
            from disentangle_bench.api.trained import load_trained

        self._file("model.safetensors")
        threads = int(self.record.content.get("environment", {}).get("threads", 1))
        return load_trained(self.spec, self.folder, self.dataset(data_dir), self.codes(), device, threads)

    def _file(self, name: str) -> Path:
        from disentangle_bench.store.runs import check_file

        return check_file(self.record, name)

    def __repr__(self) -> str:
        """Return the run's name and its scores, a line each."""
        width = max(map(len, self.scores), default=0)
        return "\n".join([self.spec.run_id, *(f"  {name:{width}}  {value:.4g}" for name, value in self.scores.items())])

    def _repr_html_(self) -> str:
        """Return the run's name and its scores as a table, for notebooks."""
        rows = "".join(f"<tr><th>{html.escape(n)}</th><td>{v:.4g}</td></tr>" for n, v in self.scores.items())
        return f"<table><caption>{html.escape(self.spec.run_id)}</caption>{rows}</table>"


class Results:
    """Finished runs of the results folder ``folder``, in the order of their names.

    ``records`` are those of the folder, if they have already been read. ``results["qlae", 0]`` is the run with that
    model and seed; words may name model, dataset and protocol in any order, and a number is the seed. ``problems`` has
    a line for each record that cannot be used, and ``failures`` the error of each run that failed, both by the name of
    the run.

    Raises ``BenchError`` for a folder that is missing or holds no results, and for names that fit no run or several.
    """

    def __init__(self, folder: str | PathLike[str], records: Records | None = None) -> None:
        self.folder = Path(folder)
        self._records = runs.read_records(self.folder) if records is None else records
        self.runs = [Run(record) for record in self._records.records]
        self.problems = dict(self._records.problems)

    @cached_property
    def failures(self) -> dict[str, str]:
        """Return the error of each run that failed, in one line, by the run's name."""
        errors = {}
        for path in sorted(self.folder.glob(f"runs/*/{runs.FAILED}")):
            if path.parent.name not in self._records.names:
                errors[path.parent.name] = runs.read_failure(path.parent)["error"]
        return errors

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __getitem__(self, key: str | int | tuple[str | int, ...]) -> Run:
        """Return the only run that matches all names given; raise ``BenchError`` if none or several do."""
        names = key if isinstance(key, tuple) else (key,)
        fitting = [run for run in self.runs if all(_fits(run.spec, word) for word in names)]
        if len(fitting) == 1:
            return fitting[0]
        shown = ", ".join(run.spec.run_id for run in (fitting or self.runs)[:10])
        count = f"{len(fitting)} runs fit" if fitting else "no run fits"
        raise BenchError(f"{count} {', '.join(map(repr, names))}: give model, dataset and seed. Here: {shown}")

    def table(self) -> pd.DataFrame:
        """Return all scores: a row per run and score, with model, dataset, protocol, seed, value and versions."""
        return runs.tidy(run.record for run in self.runs)

    def leaderboard(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the leaderboard: a row per dataset, protocol, model and score, with mean, interval and rank.

        ``metrics`` names metrics or single scores, all by default. The columns are those of ``leaderboard.csv``. Raises
        ``BenchError`` for a metric that no run has.
        """
        from disentangle_bench.report.results import read_results

        return read_results(self.folder, metrics).board

    def report(self, **options: Any) -> Report:
        """Write tables, figures and a page into the folder, and return the report.

        ``options`` are those of ``disentangle_bench.write_report``, which says what it raises.
        """
        from disentangle_bench.report import write_report

        return write_report(self.folder, **options)

    def __repr__(self) -> str:
        """Return the folder and the numbers of finished and failed runs."""
        return f"Results({str(self.folder)!r}): {len(self)} finished, {len(self.failures)} failed"

    def _repr_html_(self) -> str:
        """Return the mean of each score by dataset, protocol and model as a table, for notebooks."""
        if not self.runs:
            return html.escape(repr(self))
        table = self.table()
        means = table.pivot_table(index=["dataset", "protocol", "model"], columns="score", values="value", sort=False)
        return f"<p>{html.escape(repr(self))}; means over seeds</p>{means.to_html(float_format='{:.3f}'.format)}"


def _fits(spec: RunSpec, word: str | int) -> bool:
    if isinstance(word, int):
        return spec.seed == word
    return word in (spec.model, spec.dataset, spec.dataset_name, spec.protocol, spec.run_id)


def load(folder: str | PathLike[str] = "results") -> Results:
    """Return the results in ``folder``, which is read once: load it again to see runs that have finished since.

    Raises ``BenchError`` if it is missing, or was not made by ``dbench run``.
    """
    return Results(folder)
