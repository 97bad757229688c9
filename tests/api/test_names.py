"""Names that ``import disentangle_bench`` offers: lazy, complete, described."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

import disentangle_bench as db


@pytest.mark.parametrize("name", db.__all__)
def test_every_public_name_can_be_had_and_has_a_docstring(name):
    thing = getattr(db, name)
    if name not in ("ImageShape", "Logs", "Losses"):  # types, described where they are defined
        assert inspect.getdoc(thing)


FUNCTIONS = [name for name in db.__all__ if inspect.isfunction(getattr(db, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_functions_docstring_names_its_arguments_and_errors(name):
    text = inspect.getdoc(getattr(db, name))
    for argument in inspect.signature(getattr(db, name)).parameters:
        assert f"``{argument}``" in text, argument
    assert "BenchError" in text or "Violation" in text or name == "list_protocols"


CLASSES = [name for name in db.__all__ if isinstance(getattr(db, name), type)]


@pytest.mark.parametrize("name", CLASSES)
def test_members_of_public_classes_have_docstrings(name):
    for label, member in vars(getattr(db, name)).items():
        if not label.startswith("_") and isinstance(member, FunctionType | property | classmethod):
            assert inspect.getdoc(member), label


def test_every_public_name_is_on_the_reference_page():
    page = (Path(db.__file__).parent.parent / "docs" / "reference" / "python.md").read_text()
    shown = set(re.findall(r"^::: (\S+)", page, re.MULTILINE))
    for name, home in db._HOMES.items():
        module = f"disentangle_bench.{home}"
        assert module in shown or f"{module}.{name}" in shown, name


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
