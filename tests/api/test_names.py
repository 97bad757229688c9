"""Names that ``import disentangle_bench`` offers: lazy, complete, described."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import disentangle_bench as db


@pytest.mark.parametrize("name", db.__all__)
def test_every_public_name_can_be_had_and_has_a_docstring(name):
    thing = getattr(db, name)
    if name not in ("ImageShape", "Logs", "Losses"):  # types, described where they are defined
        assert inspect.getdoc(thing)


def test_the_list_is_the_public_names():
    assert {*db._HOMES, "report"} == set(db.__all__)
    assert set(dir(db)) == {*db.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = db.nonsense


def test_report_is_a_function_whatever_was_imported():
    assert import_module("disentangle_bench.report") is db.report
    with pytest.raises(db.BenchError, match="nowhere"):
        db.report("nowhere")


def test_importing_and_listing_is_light():
    code = "import sys, disentangle_bench as db; dir(db); db.list_models(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    code = "import sys, disentangle_bench; print({'numpy', 'pydantic', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
