"""Finds and reads ``baselines/<model>/<dataset>.toml``: a model's settings on a dataset, and where they come from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from disentangle_bench.errors import BenchError
from disentangle_bench.spec import Part, Scalar


class Source(Part):
    """Where settings come from: ``published`` for this dataset, ``transferred`` from another one, or our own choice."""

    kind: Literal["published", "transferred", "ours"]
    reference: str
    note: str = ""


class Choice(Part):
    """Settings and where they come from."""

    source: Source
    settings: dict[str, Scalar] = Field(default_factory=dict)


class Baseline(Choice):
    """One file's content: the model's settings on the dataset, and ``[protocols.NAME]`` where a protocol means others,
    because two sources disagree.
    """

    protocols: dict[str, Choice] = Field(default_factory=dict)


def folder() -> Path:
    """Where the files are: inside an installed package, or beside the package in a checkout.

    An editable install does not see the mapping of ``baselines/`` into the package, hence the two places.
    """
    package = Path(__file__).parents[1]
    for place in (package / "baseline_files", package.parent / "baselines"):
        if place.is_dir():
            return place
    raise BenchError(f"the baselines are missing from {package}: install disentangle-bench again")


def read(model: str, dataset: str) -> Baseline | None:
    """The settings of ``model`` on ``dataset``, None if there is no file for them."""
    path = folder() / model / f"{dataset}.toml"
    return parse(path) if path.exists() else None


def parse(path: Path) -> Baseline:
    """Read one file. A key that is not known, or a value of the wrong kind, is an error that names it."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Baseline.model_validate(content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise BenchError(f"{path}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """The first of a validation's problems, on one line: where, what was given, what is wrong."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {where!r}"
    if problem["type"] == "missing":
        return f"the setting {where!r} is missing"
    return f"{where} = {problem['input']!r} is not allowed: {problem['msg'].lower()}"
