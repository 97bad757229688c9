"""Schema of a run's ``record.json``: what readers of a record may rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disentangle_bench.errors import BenchError, one_line
from disentangle_bench.spec import RunSpec

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Field(ge=0)]
Texts = dict[str, str]


class _Part(BaseModel):
    """Part of a record; keys of later versions are allowed."""

    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())


class _Score(_Part):
    metric: str
    score: str
    value: float | None
    higher_is_better: bool
    ranked: bool = True
    unit: str | None = ""
    variant: str
    version: Count
    paper: str | None = ""
    chance: float | None = None
    chance_spread: float | None = None


class _Dataset(_Part):
    factor_names: list[str] = []
    factor_sizes: list[Count] = []


class _Package(_Part):
    version: str
    commit: str | None = None


class _Times(_Part):
    training: Seconds | None = None
    encoding: Seconds | None = None
    metrics: dict[str, Seconds] = {}


class Content(_Part):
    """Content of a record, as far as it is read."""

    digest: str
    spec: RunSpec
    ranked: bool = False
    package: _Package
    scores: list[_Score]
    dataset: _Dataset = _Dataset()
    environment: dict[str, str | int | float | bool | None] = {}
    parameters: Count | None = None
    images: dict[str, Count] = {}
    seconds: _Times = _Times()
    peak_memory: dict[str, Count | None] = {}
    notes: dict[str, Texts] = {}
    finished: str | None = ""
    files: Texts = {}


def check(path: Path, content: dict[str, Any]) -> Content:
    """Return the validated content of the record at ``path``.

    Raises ``BenchError`` in one line that names the file and the first value that is not allowed.
    """
    try:
        return Content.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))[:80]
        reason = one_line(f"{where}: {problem['msg'].lower()}".removeprefix(": "))
        raise BenchError(f"{path} is not a valid record ({reason}): delete it and run again") from error
