"""Shipped results stay readable, and their tables are what this version makes of their records."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from disentangle_bench import store
from disentangle_bench.report import write_report

SHIPPED = sorted((Path(__file__).parent.parent / "results" / "shipped").glob("*/"))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_tables_come_from_shipped_records(folder, tmp_path):
    records = store.load_records(folder)
    assert records
    assert all(record.spec.run_id == record.folder.name for record in records)
    copy = shutil.copytree(folder, tmp_path / "copy")
    for name in ("leaderboard.csv", "results.csv"):
        (copy / name).unlink()
    write_report(copy, figures=False)
    for name in ("leaderboard.csv", "results.csv"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
