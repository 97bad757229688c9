"""The notebooks of the documentation run from top to bottom."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="nbclient is not installed: pip install '.[dev]'")

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(path, tmp_path):
    notebook = runpy.run_path(str(FOLDER / "execute.py"))["executed"](path, tmp_path)
    assert all(cell.outputs for cell in notebook.cells[-2:] if cell.cell_type == "code")
