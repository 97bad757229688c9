"""Grids: every model on every dataset with every seed and combination of settings, from the user's words to specs."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, MODELS
from disentangle_bench.spec import RunSpec, Scalar


def parse_seeds(text: str) -> list[int]:
    """``5`` is seeds 0 to 4, ``3-7`` a range with both ends, ``0,2,9`` a list, ``0-4,9`` both."""
    if re.fullmatch(r"\d+", text) and int(text) > 0:
        return list(range(int(text)))
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not match or (match[2] and int(match[2]) < int(match[1])) or ("," not in text and not match[2]):
            raise BenchError(
                f"--seeds {text!r} is not understood: give how many (5 means 0 to 4), a range (0-4) or a list (0,3,7)"
            )
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(seeds))


def alternatives(changes: Sequence[str], grid_file: Path | None = None) -> list[list[str]]:
    """``--set`` words whose values are comma-separated lists, and a file's ``[grid]``, as all combinations of single
    values.
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
    return [list(combination) for combination in itertools.product(*choices.values())]


def read_grid(path: Path) -> dict[str, list[Scalar]]:
    """A TOML file's ``[grid]``: dotted keys as ``dbench show`` prints them, each with the list of its values.

    Raises ``BenchError`` for anything else in the file.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"--grid {str(path)!r} cannot be read ({error.strerror}): give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"--grid {str(path)!r} is not valid TOML: {error}") from error
    if set(content) != {"grid"} or not isinstance(content["grid"], dict):
        raise BenchError(f"--grid {str(path)!r} holds {', '.join(content) or 'nothing'}: give one table, [grid]")
    found: dict[str, list[Scalar]] = {}

    def collect(table: dict[str, Any], prefix: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}{name}.")
            elif isinstance(value, list) and value and all(isinstance(one, bool | int | float | str) for one in value):
                found[f"{prefix}{name}"] = value
            else:
                raise BenchError(f"--grid {str(path)!r}: {prefix}{name} = {value!r} is no list of numbers or texts")

    collect(content["grid"], "")
    return found


def expand(
    models: str,
    datasets: str,
    seeds: str,
    protocol: str,
    changes: Sequence[str] = (),
    grid_file: Path | None = None,
    precision: str | None = None,
) -> list[RunSpec]:
    """All specs of a grid: every model on every dataset with every seed and combination of changed values.

    Seeds are outermost, so that a grid that is stopped early has whole comparisons. ``precision`` is a change too.
    """
    model_names, dataset_names, numbers = MODELS.names(models), DATASETS.names(datasets), parse_seeds(seeds)
    changes = [*changes, *([] if precision is None else [f"training.precision={precision}"])]
    resolved = [
        resolve(model, name, protocol, 0, combination).spec
        for name in dataset_names
        for model in model_names
        for combination in alternatives(changes, grid_file)
    ]
    return [spec.model_copy(update={"seed": seed}) for seed in numbers for spec in resolved]
