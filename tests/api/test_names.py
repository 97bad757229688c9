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
from disentangle_bench import metrics

TYPES = ("ImageShape", "Logs", "Losses")
"""Aliases of types, which are described where they are defined."""


def described():
    """Every public function, class and method, and the metrics, by name."""
    values = {name: getattr(db, name) for name in db.__all__ if name not in TYPES}
    values["report"] = db.write_report
    values |= {f"metrics.{name}": getattr(metrics, name) for name in metrics.__all__}
    for owner, value in list(values.items()):
        for label, member in vars(value).items() if isinstance(value, type) else ():
            if not label.startswith("_") and isinstance(member, FunctionType | property | classmethod):
                values[f"{owner}.{label}"] = member
    return values


DESCRIBED = described()
PLAIN = ("self", "cls", "args", "kwargs")


def parameters(value):
    """Names of what a caller gives, also to a class."""
    if isinstance(value, property) or (isinstance(value, type) and issubclass(value, Exception)):
        return []
    return [name for name in inspect.signature(getattr(value, "__func__", value)).parameters if name[:1] != "_"]


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_docstring_names_every_parameter(name):
    docstring = inspect.getdoc(DESCRIBED[name])
    missing = [
        parameter
        for parameter in parameters(DESCRIBED[name])
        if parameter not in PLAIN and f"``{parameter}" not in docstring
    ]
    assert not missing


CALLED = [name for name, value in DESCRIBED.items() if not isinstance(value, type | property)]


@pytest.mark.parametrize("name", CALLED)
def test_a_docstring_says_what_comes_back_and_what_is_raised(name):
    function = getattr(DESCRIBED[name], "__func__", DESCRIBED[name])
    docstring = inspect.getdoc(function)
    if inspect.signature(function).return_annotation not in ("None", inspect.Signature.empty):
        assert re.search(r"\b[Rr]eturn", docstring)
    raises = "raise " in inspect.getsource(function) and "raise NotImplementedError" not in inspect.getsource(function)
    if raises or ("." not in name and name != "list_protocols") or name.startswith("metrics."):
        assert re.search(r"\b[Rr]aises? ``(BenchError|Violation|KeyError)``", docstring)


@pytest.mark.parametrize("name", [name for name in metrics.__all__ if name not in ("MetricResult", "mse")])
def test_a_metrics_docstring_names_its_source(name):
    assert re.search(r"Source:\s.*\b20\d\d\b", inspect.getdoc(getattr(metrics, name)), re.DOTALL)


def test_every_public_name_is_on_the_reference_page():
    page = (Path(db.__file__).parent.parent / "docs" / "reference" / "python.md").read_text()
    identifiers = set(re.findall(r"^::: (\S+)", page, re.MULTILINE))
    for name, home in db._HOMES.items():
        module = f"disentangle_bench.{home}"
        assert module in identifiers or f"{module}.{name}" in identifiers, name


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
