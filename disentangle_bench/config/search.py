"""Search for settings: draw points from a model's search space, and write and read the file of selected settings.

Every model gets the same number of points. Point 0 is the default. The others come from a fixed sequence for each model
and search seed: in draw ``n``, the value of setting ``key`` lies at the fraction
``seed_for("search", model, seed, n, key) / 2**63`` of its range. The fraction is a hash, so it is the same on every
machine. A draw that repeats an earlier point is skipped. A larger budget contains all points of a smaller one.

The runs of a search are scored on validation images. ``dbench select`` chooses a point by its runs and writes the file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from disentangle_bench.atomic import write_text
from disentangle_bench.config import baselines
from disentangle_bench.config.protocols import protocol
from disentangle_bench.config.resolve import dosed, resolve
from disentangle_bench.errors import BenchError, listed, unknown
from disentangle_bench.registry import MODELS
from disentangle_bench.spec import Part, RunSpec, Scalar, SearchPoint, Subject, Tuning, Whole, first_problem, seed_for

SPACE_VERSION = 1
"""Version of all spaces: any change of a range in ``baselines/`` bumps it."""

SAMPLERS = ("random", "tpe")
IMAGES = "scoring.images"
MOST_REPEATS = 1_000
"""Number of successive draws that repeat earlier points, after which a space counts as used up."""


@dataclass(frozen=True)
class Search:
    """A search: how many points each model gets, including the default, and the seed from which they are drawn.

    An adaptive ``sampler`` is guided by the criterion ``by``, one of ``dbench select``.
    """

    budget: int
    seed: int = 0
    sampler: Literal["random", "tpe"] = "random"
    by: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.budget, int) or self.budget < 1:
            raise BenchError(f"--search {self.budget!r} is no number of points: give a whole number from 1")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise BenchError(f"--search-seed {self.seed!r} is no seed: give a whole number from 0 to 2^63 - 1")
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", str(self.sampler), SAMPLERS)


def asked(budget: int | None, seed: int = 0, sampler: Any = "random", by: str | None = None) -> Search | None:
    """Return the search that a user asks for; None without a ``budget``.

    Raises ``BenchError`` for numbers and names that are not allowed, and for a sampler or criterion without a search.
    """
    if budget is not None:
        return Search(budget, seed, sampler, by or "")
    if sampler != "random" or by is not None:
        raise BenchError("--sampler and --by say how a search draws its points: give --search too, or leave them out")
    return None


def space(model: str) -> dict[str, baselines.Range]:
    """Return the ranges of a model's settings by name.

    Raises ``BenchError`` if the model's baseline has none.
    """
    baseline, file = baselines.read(MODELS.canonical(model))
    if not baseline.search:
        raise BenchError(f"{model} has no ranges to search in: give {file} a table [search], as docs/reference says")
    return baseline.search


def draws(model: str, seed: int) -> Iterator[dict[str, Scalar]]:
    """Yield settings drawn for a model, in an endless sequence."""
    model, ranges = MODELS.canonical(model), space(model)
    for number in itertools.count(1):
        yield {key: one.at(seed_for("search", model, seed, number, key) / 2**63) for key, one in ranges.items()}


def point(
    model: str,
    dataset: str,
    protocol_name: str,
    changes: Sequence[str],
    search_point: SearchPoint,
    values: dict[str, Scalar],
) -> RunSpec:
    """Return the spec with seed 0 of a search's point, scored on validation images.

    ``values`` are settings before they are scaled to the protocol's dose; they replace those of the default point, to
    which ``changes`` are applied as well.
    """
    scaled = values | dosed(MODELS.canonical(model), values, protocol(protocol_name))
    given = [*changes, f"{IMAGES}=validation", *_words(scaled)]
    return resolve(model, dataset, protocol_name, 0, given).spec.model_copy(update={"search": search_point})


def points(model: str, dataset: str, protocol_name: str, changes: Sequence[str], search: Search) -> list[RunSpec]:
    """Return the specs with seed 0 of a search's points, all different, in order.

    Raises ``BenchError`` for a protocol without test images of its own, a change of a setting that the search decides,
    and a space with too few points.
    """
    rules, fixed = protocol(protocol_name), {word.partition("=")[0].strip() for word in changes}
    if rules.training.split != "fixed" or rules.scoring.images == "all" or "training.split" in fixed:
        raise BenchError(f"the protocol {rules.name} has no test images that a search leaves alone: take another one")
    for key in [IMAGES, *(f"model.{name}" for name in space(model))]:
        if key in fixed:
            raise BenchError(f"--search decides {key}: leave it out of the changes")
    specs: dict[str, RunSpec] = {}
    repeats = 0
    for values in itertools.chain([{}], draws(model, search.seed)):
        search_point = SearchPoint(
            point=len(specs), seed=search.seed, sampler=search.sampler, space_version=SPACE_VERSION
        )
        spec = point(model, dataset, protocol_name, changes, search_point, values)
        repeats = repeats + 1 if spec.digest in specs else 0
        specs.setdefault(spec.digest, spec)
        if len(specs) == search.budget:
            break
        if repeats > MOST_REPEATS:
            raise BenchError(f"the space of {model} has {len(specs)} points only: give --search {len(specs)} or fewer")
    return list(specs.values())


def base_changes(spec: RunSpec) -> tuple[str, ...]:
    """Return the changes of a search's run that the search did not make. The final runs must have them, too."""
    own = {IMAGES, *(f"model.{name}" for name in space(spec.model))}
    return tuple(change for change in spec.changed if change.partition("=")[0] not in own)


class Selected(Subject):
    """Settings selected for one model on one dataset under one protocol, and how they were selected.

    ``changed`` holds the changes that the search did not make, ``seeds`` the seeds of the point's runs, and ``value``
    the criterion's value. ``settings`` are those that the search drew; if it is empty, the default was selected.
    """

    changed: tuple[str, ...] = ()
    tuned: Tuning
    point: Whole
    search_seed: Whole
    seeds: tuple[Whole, ...]
    value: float
    settings: dict[str, Scalar] = Field(default_factory=dict)

    def fits(self, spec: RunSpec) -> bool:
        """Return whether these settings were selected for runs that differ from ``spec`` in their settings only."""
        shared = Subject.model_fields.keys() - {"dataset"} | {"changed"}
        same = self.dataset.rpartition("/")[2] == spec.dataset.rpartition("/")[2]  # a file counts by name and content
        return same and all(getattr(self, name) == getattr(spec, name) for name in shared)


class Selection(Part):
    """Content of a file that ``dbench select`` writes. ``checksum`` reveals edits, since records cite the selection."""

    selected: tuple[Selected, ...]
    checksum: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of the selected settings."""
        text = json.dumps(self.model_dump(mode="json")["selected"], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def write_selection(path: Path, selected: Sequence[Selected], remarks: Sequence[str]) -> None:
    """Write a file for ``dbench run --settings``, atomically; ``remarks`` are lines of comment at its top."""
    lines = [*(f"# {remark}" for remark in remarks), f'checksum = "{Selection(selected=tuple(selected)).digest}"']
    for one in selected:
        lines += ["", "[[selected]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in one.model_dump(mode="json").items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")


def read_selection(path: Path) -> Selection:
    """Return the content of a file that ``dbench select`` wrote.

    Raises ``BenchError`` if it cannot be read, is something else, or was edited.
    """
    try:
        selection = Selection.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BenchError(f"--settings {str(path)!r} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BenchError(f"--settings {str(path)!r} is no file of dbench select: {first_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"--settings {str(path)!r} is not valid TOML: {error}") from error
    if selection.digest != selection.checksum:
        raise BenchError(f"--settings {str(path)!r} was edited: run dbench select again, or give own values with --set")
    return selection


def tuned(
    model: str, dataset: str, protocol_name: str, changes: Sequence[str], selection: Selection, seeds: Sequence[int]
) -> RunSpec:
    """Return the spec with seed 0 of final runs with selected settings; ``seeds`` are the seeds of those runs.

    Raises ``BenchError`` if the selection has no settings for the run, or if one of ``seeds`` was used in the search.
    """
    plain = resolve(model, dataset, protocol_name, 0, changes).spec
    one = next((one for one in selection.selected if one.fits(plain)), None)
    if one is None:
        known = [" ".join([each.model, each.dataset, each.protocol, *each.changed]) for each in selection.selected]
        wanted = " ".join([plain.model, plain.dataset, plain.protocol, *plain.changed])
        raise BenchError(f"--settings has no settings for {wanted}: it has them for {listed(known)}")
    if used := sorted(set(seeds) & set(one.seeds)):
        raise BenchError(
            f"--seeds: {listed(map(str, used))} had a part in selecting the settings of {model}: give others, such as "
            f"{max(one.seeds) + 1}-{max(one.seeds) + 5}"
        )
    spec = resolve(model, dataset, protocol_name, 0, [*changes, *_words(one.settings)]).spec
    return spec.model_copy(update={"changed": plain.changed, "tuned": one.tuned})


def _words(settings: dict[str, Scalar]) -> list[str]:
    # JSON's spelling of numbers, truth values and texts is TOML's, which resolve reads.
    return [f"model.{key}={json.dumps(value)}" for key, value in settings.items()]


def _toml(value: Any) -> str:
    """Return a value of JSON as TOML on one line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # By default JSON writes letters beyond U+FFFF as two halves, which TOML refuses. TOML also refuses a plain 127.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
