"""Leaderboards of synthetic records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from disentangle_bench.report import leaderboard
from disentangle_bench.report.scores import score_table
from disentangle_bench.store.runs import Record
from support import records as synthetic


def record(model="qlae", seed=0, scores=None, record_values=None, **values) -> Record:
    run = synthetic.spec(model, seed, **values)
    return Record(Path("runs") / run.run_id, synthetic.content(run, scores, **(record_values or {})))


def board(records: list[Record]) -> pd.DataFrame:
    return leaderboard.leaderboard(score_table(records))


def three(model, values, score="dci.disentanglement", **spec) -> list[Record]:
    return [record(model, seed, {score: value}, **spec) for seed, value in enumerate(values)]
