"""Grids of runs from Python: do them, estimate their cost, show the values of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from disentangle_bench.api.results import Results
from disentangle_bench.config import search as searches
from disentangle_bench.config.grids import expand
from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.files import data_folder
from disentangle_bench.registry import DATASETS, MODELS, Registry
from disentangle_bench.spec import flat

if TYPE_CHECKING:
    import pandas as pd

    from disentangle_bench.runner.plan import Plan
    from disentangle_bench.runner.resources import Resources

Names: TypeAlias = str | type | Sequence[str | type]
"""Names or classes, one or several. A text may hold several comma-separated names; groups such as ``"paper"`` stand for
several, and ``"path/to/file.py:Name"`` for what is in a file.
"""

Changes: TypeAlias = Mapping[str, Any] | None
"""Values by the keys that ``show`` returns, such as ``{"model.gamma": 1e-3}``; a list makes a run for each value."""


def run(
    models: Names,
    datasets: Names,
    *,
    protocol: str = "standard",
    seeds: int | str | Sequence[int] = 5,
    changes: Changes = None,
    search: int | None = None,
    search_seed: int = 0,
    sampler: str = "random",
    by: str | None = None,
    settings: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "results",
    rerun: str = "missing",
    **resources: Any,
) -> Results:
    """Train and score every model on every dataset with every seed, and return all finished runs of the folder ``out``.

    ``models`` and ``datasets`` are names, groups of names, files or classes. ``protocol`` is the name of one, or a file
    with one. ``seeds`` is a count (5 means 0 to 4), a list ([0, 3]), or a text as for ``--seeds``. ``changes`` are
    values by the keys that ``show`` returns; a list makes a run for each value, and changed runs are not ranked.
    Finished runs are skipped and interrupted ones resumed; ``rerun`` is ``"missing"``, ``"failed"`` or ``"all"``.
    ``resources`` are fields of ``runner.resources.Resources``, such as ``devices="cpu"``, ``jobs=2`` (runs at a time; 0
    runs them in this process, for a debugger) and ``data``, the folder with the datasets.

    ``search`` is a number of points of every model's search space: each becomes a run, the default first and the others
    drawn from ``search_seed``, and is scored on validation images; ``select`` then chooses among them. If ``sampler``
    is ``"tpe"``, Optuna draws them in rounds, guided by the criterion ``by`` of ``select``. ``settings`` is a file that
    ``select`` wrote: its settings are used in place of the published ones.

    A run that fails does not stop the others: see ``Results.failures``. Raises ``BenchError``, before anything is
    trained, for unknown names, values that are not allowed, and resources that are missing.
    """
    from disentangle_bench.runner.search import do

    wanted = searches.asked(search, search_seed, sampler, by)
    what = _what(models, datasets, protocol, seeds, changes, wanted, settings)
    return Results(out, do(what, Path(out), _resources(resources), rerun=rerun).records)


def plan(
    models: Names,
    datasets: Names,
    *,
    protocol: str = "standard",
    seeds: int | str | Sequence[int] = 5,
    changes: Changes = None,
    search: int | None = None,
    search_seed: int = 0,
    settings: str | PathLike[str] | None = None,
    **resources: Any,
) -> Plan:
    """Return what ``run`` would cost on this machine: seconds, bytes of memory and of disk.

    To find out, it does a few updates of each kind of run. ``models``, ``datasets``, ``protocol``, ``seeds``,
    ``changes``, ``search``, ``search_seed``, ``settings`` and ``resources`` are as for ``run``. Raises ``BenchError``
    in the same cases as ``run``.
    """
    from disentangle_bench.runner.run import estimate

    wanted = searches.asked(search, search_seed)
    what = _what(models, datasets, protocol, seeds, changes, wanted, settings)
    return estimate(expand(**what), _resources(resources))


def show(model: str, dataset: str, protocol: str = "standard", changes: Changes = None) -> pd.DataFrame:
    """Return every value that decides a run of ``model`` on ``dataset`` under ``protocol``: a row for each key.

    The columns are ``value`` and ``source``, which names the file and the paper that the value comes from. ``changes``
    are values by key, as ``run`` takes them. Raises ``BenchError`` for unknown names and values that are not allowed.
    """
    import pandas as pd

    resolved = resolve(model, dataset, protocol, 0, _changes(changes))
    values = flat(resolved.spec)
    rows = {key: {"value": value, "source": resolved.sources[key]} for key, value in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _what(
    models: Names,
    datasets: Names,
    protocol: str,
    seeds: int | str | Sequence[int],
    changes: Changes,
    search: searches.Search | None,
    settings: str | PathLike[str] | None,
) -> dict[str, Any]:
    """Return the arguments for ``expand``, which takes texts as the command does."""
    return {
        "models": _words(MODELS, models),
        "datasets": _words(DATASETS, datasets),
        "seeds": _seeds(seeds),
        "protocol": protocol,
        "changes": _changes(changes),
        "search": search,
        "settings": None if settings is None else Path(settings),
    }


def _words(table: Registry, names: Names) -> str:
    if isinstance(names, str | type):
        names = [names]
    return ",".join(name if isinstance(name, str) else table.name_of(name) for name in names)


def _seeds(seeds: int | str | Sequence[int]) -> str:
    if isinstance(seeds, int | str):
        return str(seeds)
    return ",".join(f"{seed}-{seed}" for seed in seeds)


def _changes(changes: Changes) -> list[str]:
    """Return changes in the form that the command takes."""
    texts = []
    for key, value in (changes or {}).items():
        values = value if isinstance(value, list | tuple) else [value]
        texts.append(f"{key}={','.join(one if isinstance(one, str) else json.dumps(one) for one in values)}")
    return texts


def _resources(given: dict[str, Any]) -> Resources:
    from pydantic import ValidationError

    from disentangle_bench.errors import BenchError
    from disentangle_bench.runner.resources import Resources
    from disentangle_bench.spec import first_problem

    if "data" in given:
        given = given | {"data": data_folder(given["data"])}
    try:
        return Resources(**given)
    except ValidationError as error:
        allowed = ", ".join(Resources.model_fields)
        raise BenchError(f"resources: {first_problem(error)}. Allowed: {allowed}.") from error
