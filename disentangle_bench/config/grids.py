"""Grids: every model on every dataset with every seed and combination of settings, from the user's input to specs."""

from __future__ import annotations

import itertools
import json
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disentangle_bench.config import search as searches
from disentangle_bench.config.resolve import resolve
from disentangle_bench.config.search import Search
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, MODELS, dataset_class
from disentangle_bench.spec import RunSpec, Scalar

MOST_RUNS = 100_000
"""Largest number of runs in a grid; more are taken for a mistake, and are rejected before they are listed."""

FEWEST_IMAGES = 30
"""Smallest number of images in a dataset: with fewer, the test split cannot fit and test a predictor."""


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that a text stands for: ``5`` means 0 to 4, ``3-7`` a range with both ends, ``0,2,9`` a list,
    and ``=3`` or ``3,`` seed 3 alone.
    """
    given, part = "".join(text.split()), r"([0-9]{1,18})(?:-([0-9]{1,18}))?"
    if re.fullmatch(r"[1-9][0-9]{0,17}", given):
        ranges = [range(int(given))]
    elif re.fullmatch(rf"=[0-9]{{1,18}}|{part}(,{part})*,?", given) and not given.isdigit():
        ranges = [range(int(first), int(last or first) + 1) for first, last in re.findall(part, given)]
    else:
        ranges = []
    if not all(ranges) or not ranges:
        shown = given if len(given) <= 60 else f"{given[:60]} ..."
        raise BenchError(
            f"--seeds {shown!r} is not understood: give how many (5 means 0 to 4), a range (0-4), a list (0,3,7) or "
            "one alone (=3), in numbers of at most 18 digits"
        )
    _check_size(sum(map(len, ranges)), f"--seeds {given[:60]!r}")
    return list(dict.fromkeys(seed for each in ranges for seed in each))


def _check_size(runs: int, given: str) -> None:
    if runs > MOST_RUNS:
        raise BenchError(f"{given} means {runs:,} runs, and a grid has at most {MOST_RUNS:,}: give fewer values")


def alternatives(changes: Sequence[str], grid_file: Path | None = None) -> list[list[str]]:
    """Return all combinations of single values from ``--set`` texts, whose values may be comma-separated, and from a
    file's ``[grid]``.
    """
    choices: dict[str, list[str]] = {}
    for word in changes:
        key, equals, values = word.partition("=")
        choices[key.strip()] = [f"{key}{equals}{value}" for value in values.split(",")]
    for key, alternative in (read_grid(grid_file) if grid_file else {}).items():
        if key in choices:
            raise BenchError(f"{key} is changed twice, by {grid_file} and by another option: keep one of them")
        # JSON's spelling of numbers, truth values and texts is TOML's, which resolve reads.
        choices[key] = [f"{key}={json.dumps(value)}" for value in alternative]
    _check_size(math.prod(map(len, choices.values())), " ".join(f"--set {key}" for key in choices))
    return [list(combination) for combination in itertools.product(*choices.values())]


def read_grid(path: Path) -> dict[str, list[Scalar]]:
    """Return a TOML file's ``[grid]``: dotted keys as ``dbench show`` prints them, each with the list of its values.

    Raises ``BenchError`` for anything else in the file.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"--grid {str(path)!r} cannot be read ({error.strerror}): give a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"--grid {str(path)!r} is not valid TOML: {error}") from error
    if set(content) != {"grid"} or not isinstance(content["grid"], dict):
        raise BenchError(f"--grid {str(path)!r} holds {', '.join(content) or 'nothing'}: give one table, [grid]")
    lists: dict[str, list[Scalar]] = {}

    def collect(table: dict[str, Any], prefix: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}{name}.")
            elif isinstance(value, list) and value and all(isinstance(one, bool | int | float | str) for one in value):
                lists[f"{prefix}{name}"] = value
            else:
                raise BenchError(f"--grid {str(path)!r}: {prefix}{name} = {value!r} is no list of numbers or texts")

    collect(content["grid"], "")
    return lists


def expand(
    models: str,
    datasets: str,
    seeds: str,
    protocol: str,
    changes: Sequence[str] = (),
    grid_file: Path | None = None,
    search: Search | None = None,
    settings: Path | None = None,
) -> list[RunSpec]:
    """Return all specs of a grid: every model on every dataset with every seed and combination of changed values.

    Seeds vary slowest, so that a grid that is stopped early has complete comparisons. With a ``search``, each run
    becomes one run per point; points vary more slowly than models, so that budgets are equal in part of a grid, too.
    ``settings`` is a file of selected settings, which replace those of the baselines.

    Raises ``BenchError`` for what cannot be run: unknown names, too many runs, a dataset that does not fit.
    """
    if search and settings:
        raise BenchError("--search looks for settings and --settings has them: give one of them")
    model_names, dataset_names, numbers = MODELS.names(models), DATASETS.names(datasets), parse_seeds(seeds)
    combinations = alternatives(changes, grid_file)
    budget = search.budget if search else 1
    _check_size(len(model_names) * len(dataset_names) * len(numbers) * len(combinations) * budget, "this grid")
    selection = searches.read_selection(settings) if settings else None

    def variants(model: str, dataset: str, combination: list[str]) -> list[RunSpec]:
        if search:
            return searches.points(model, dataset, protocol, combination, search)
        if selection:
            return [searches.tuned(model, dataset, protocol, combination, selection, numbers)]
        return [resolve(model, dataset, protocol, 0, combination).spec]

    resolved = [
        spec
        for name in dataset_names
        for model in model_names
        for combination in combinations
        for spec in variants(model, name, combination)
    ]
    for name in dataset_names:
        if (n := dataset_class(name).card.n) < FEWEST_IMAGES:
            raise BenchError(f"{name} has {n} images, and a run needs at least {FEWEST_IMAGES}: add images")
    resolved.sort(key=lambda spec: spec.search.point if spec.search else 0)
    return [spec.model_copy(update={"seed": seed}) for seed in numbers for spec in resolved]
