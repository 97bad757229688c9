"""Shipped results stay readable, and their tables are what this version makes of their records."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from disentangle_bench.report import write_report
from disentangle_bench.store import runs

ROOT = Path(__file__).parent.parent
SHIPPED = [*sorted((ROOT / "results" / "shipped").glob("*/")), *sorted((ROOT / "results").glob("*-cpu/"))]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_tables_come_from_shipped_records(folder, tmp_path):
    records = runs.load_records(folder)
    assert records
    assert all(record.spec.run_id == record.folder.name for record in records)
    copy = shutil.copytree(folder, tmp_path / "copy")
    for name in ("leaderboard.csv", "results.csv"):
        (copy / name).unlink()
    write_report(copy, figures=False)
    for name in ("leaderboard.csv", "results.csv"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()


def script(path):
    """Import a script of the documentation."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_in_the_models_pages_are_those_of_the_shipped_records():
    """What docs/models/expected.py would write stands in the pages."""
    expected = script(ROOT / "docs" / "models" / "expected.py")
    pages = expected.pages(expected.SHIPPED)
    assert len(pages) == 17
    for page, content in pages.items():
        assert page.read_text() == content, f"run python docs/models/expected.py: {page.name} has other numbers"
        assert "`dci.disentanglement` |" in content


def test_the_example_of_equal_budgets_has_the_numbers_of_its_records():
    """What docs/how_to/equal_budgets.py would write stands in the page."""
    example = script(ROOT / "docs" / "how_to" / "equal_budgets.py")
    page = example.page(*example.EXAMPLE)
    assert example.PAGE.read_text() == page, "run python docs/how_to/equal_budgets.py"
    assert "| factor_qvae |" in page
