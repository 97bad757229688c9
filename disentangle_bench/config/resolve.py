"""Turn names into a complete spec: protocol, baseline and the user's changes, with the source of each value."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from disentangle_bench.config import baselines
from disentangle_bench.config.protocols import Protocol, protocol
from disentangle_bench.config.usable import check_usable
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.models.model import Settings
from disentangle_bench.registry import (
    DATASETS,
    MODELS,
    NETWORKS,
    dataset_class,
    metric_module,
    model_class,
    model_config,
    plugin_files,
)
from disentangle_bench.spec import RunSpec, Scalar, first_problem, flat


@dataclass(frozen=True)
class Resolved:
    """Complete spec, and the source of each of its values (dotted keys as in ``flat``).

    ``fixed`` are the settings that belong to the model's row in the registry and not to the spec.
    """

    spec: RunSpec
    sources: dict[str, str]
    fixed: dict[str, Scalar] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """Return all values by dotted key, including the fixed ones."""
        return {f"model.{key}": value for key, value in self.fixed.items()} | flat(self.spec)


def resolve(model: str, dataset: str, protocol_name: str, seed: int, changes: Sequence[str] = ()) -> Resolved:
    """Return the spec of one run. ``changes`` are ``key=value`` texts with keys as ``dbench show`` prints them.

    Raises ``BenchError`` for unknown names and keys, and for values that are not allowed.
    """
    model, dataset = MODELS.canonical(model), DATASETS.canonical(dataset)
    card, model_type, rules = dataset_class(dataset).card, model_class(model), protocol(protocol_name)
    fixed = dict(MODELS.entries[model].fixed)
    settings, sources = _settings(model, dataset, rules, len(card.factor_names))
    given = _changes(changes)
    if isinstance(own_network := given.get("training.network"), str):
        given["training.network"] = NETWORKS.canonical(own_network)
    for key in fixed:
        if f"model.{key}" in given:
            raise BenchError(f"model.{key} is fixed at {fixed[key]} by the row {model}: leave it out{_siblings(model)}")
    # How long a model is trained can depend on its settings: without a discriminator, the autoencoder gets all steps.
    own = {key: given[f"model.{key}"] for key in settings if f"model.{key}" in given}
    players = _config(model, settings | own).players
    spec = _validated(
        {
            "model": model,
            "model_version": model_type.version,
            "dataset": dataset,
            "dataset_version": card.version,
            "protocol": rules.label,
            "protocol_version": rules.version,
            "seed": seed,
            "settings": settings,
            "data": rules.data.model_dump(),
            "training": rules.training_of(players).model_dump(),
            "scoring": rules.scoring.model_dump(),
            "protocol_ranked": rules.ranked and rules.label != rules.name,
        }
    )
    protocol_source = f"protocol {rules.label}, version {rules.version}"
    sources = dict.fromkeys((key for key in flat(spec) if not key.startswith("model.")), protocol_source) | sources
    if players > 1 and rules.training_of(players) != rules.training:
        sources["training.updates"] += f": {rules.training.updates} steps of {players} optimisers"
    if given:
        spec, changed = _changed(spec, given)
        sources |= dict.fromkeys(changed, "--set")
    _check_names(spec)
    check_usable(spec, card)
    spec = spec.model_copy(update={"files": plugin_files(spec)})
    sources |= dict.fromkeys((f"model.{key}" for key in fixed), f"fixed by the row {model}")
    return Resolved(spec, sources, fixed)


@dataclass(frozen=True)
class Difference:
    """Key whose values differ in two specs, with both values and their sources; None where a spec lacks the key."""

    key: str
    first: tuple[Any, str] | None
    second: tuple[Any, str] | None


def differences(first: Resolved, second: Resolved) -> list[Difference]:
    """Return the keys whose values differ, in the order of ``flat``; keys that only ``second`` has come last."""
    a, b = first.values, second.values
    return [
        Difference(
            key,
            (a[key], first.sources[key]) if key in a else None,
            (b[key], second.sources[key]) if key in b else None,
        )
        for key in a | b
        if key not in a or key not in b or a[key] != b[key]
    ]


def comparison(first: Resolved, second: Resolved) -> list[str]:
    """Return the differences of two specs as lines: first a line per key with both values, each with the number of its
    source, then how many values are equal, then the sources, wrapped at 110 characters.
    """
    changed = differences(first, second)
    equal = len(first.values) - sum(difference.first is not None for difference in changed)
    count = "1 value is equal" if equal == 1 else f"{equal} values are equal"
    if not changed:
        return [f"nothing differs: {count}"]
    numbers: dict[str, int] = {}

    def cell(side: tuple[Any, str] | None) -> str:
        if side is None:
            return "-"
        value, source = side
        return f"{value} [{numbers.setdefault(source, len(numbers) + 1)}]"

    rows = [("", first.spec.protocol, second.spec.protocol)]
    rows += [(difference.key, cell(difference.first), cell(difference.second)) for difference in changed]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{key:{widths[0]}}  {a:{widths[1]}}  {b}" for key, a, b in rows]
    lines += ["", count, ""]
    for source, number in numbers.items():
        mark = f"[{number}] "
        lines += textwrap.wrap(
            source, 110, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
        )
    return lines


NO_FACTORS = 10
"""Number of latents for a dataset without factors."""


def _settings(model: str, dataset: str, rules: Protocol, factors: int) -> tuple[dict[str, Scalar], dict[str, str]]:
    """Return a model's complete settings on a dataset with ``factors`` factors under a protocol, and their sources."""
    baseline, file = baselines.read(model)
    given: dict[str, Any] = {"latents": 2 * factors or NO_FACTORS}
    sources = {"model.latents": "twice the number of factors" if factors else "default without factors"}
    for layer in baseline.layers(dataset, rules.name, file):
        given |= layer.settings
        sources |= dict.fromkeys((f"model.{key}" for key in layer.settings), layer.source)
    complete = _complete(model, given)
    default = f"default of {model_class(model).Config.__qualname__}"
    sources = dict.fromkeys((f"model.{key}" for key in complete), default) | sources
    for key, value in dosed(model, complete, rules).items():
        sources[f"model.{key}"] += f"; {complete[key]:g} there, here the dose of {rules.dose_updates:,} updates"
        complete[key] = value
    return complete, sources


def dosed(model: str, settings: dict[str, Scalar], rules: Protocol) -> dict[str, int | float]:
    """Return the scaled values of settings that a protocol scales because they are meant for runs of another length."""
    scaled: dict[str, int | float] = {}
    for key, setting in model_class(model).Config.model_fields.items():
        extra = setting.json_schema_extra
        dose = extra.get("dose") if isinstance(extra, dict) else None
        value = settings.get(key)
        if dose is None or isinstance(value, str | bool | None) or rules.dose_factor == 1 or not value:
            continue
        if dose == "duration":
            scaled[key] = max(1, round(value / rules.dose_factor))
        else:
            scaled[key] = float(f"{value * rules.dose_factor:.12g}")  # 1e-4, not 9.999999999999999e-05
    return scaled


def _siblings(model: str) -> str:
    """Return advice to use a row of the same class that fixes nothing, if there is one."""
    rows = MODELS.entries
    names = [row.name for row in rows.values() if row.target == rows[model].target and not row.fixed]
    return f", or take {names[0]}" if names else ""


def _complete(model: str, settings: dict[str, Any]) -> dict[str, Scalar]:
    """Return all of a model's settings except those that its row fixes."""
    fixed = MODELS.entries[model].fixed
    return {key: value for key, value in _config(model, settings).model_dump().items() if key not in fixed}


def _config(model: str, settings: dict[str, Any]) -> Settings:
    try:
        return model_config(model, settings)
    except ValidationError as error:
        fixed = MODELS.entries[model].fixed
        allowed = ", ".join(key for key in model_class(model).Config.model_fields if key not in fixed)
        raise BenchError(f"settings of {model}: {first_problem(error)}. Allowed: {allowed}.") from error


def _validated(content: dict[str, Any]) -> RunSpec:
    try:
        return RunSpec.model_validate(content)
    except ValidationError as error:
        raise BenchError(first_problem(error)) from error


def _changes(words: Sequence[str]) -> dict[str, Any]:
    """Return ``key=value`` texts as a table."""
    table = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value.strip():
            raise BenchError(f"--set takes key=value, not {word!r}: for example --set training.updates=100")
        table[key.strip()] = _value(value.strip())
    return table


def _changed(spec: RunSpec, changes: dict[str, Any]) -> tuple[RunSpec, list[str]]:
    """Return the spec with changes applied, and the changed keys; changes without effect are not recorded."""
    before = flat(spec)
    for key in changes:
        if key not in before:
            raise unknown("setting", key, before)
    after = before | changes
    content = spec.model_dump()
    content["settings"] = {}
    for key, value in after.items():
        group, name = key.split(".", 1)
        if name.startswith("metrics."):
            content["scoring"]["metrics"][name.removeprefix("metrics.")] = value
        else:
            content["settings" if group == "model" else group][name] = value
    content["settings"] = _complete(spec.model, content["settings"])
    result = _validated(content)
    changed = sorted(key for key, value in flat(result).items() if value != before[key])
    marks = [f"{key}={flat(result)[key]}" for key in changed]
    return result.model_copy(update={"changed": tuple(marks)}), changed


def _value(text: str) -> Any:
    """Return the TOML value of a text, or the text itself if it is not TOML: ``1e-4``, ``true``, ``conv64``."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # not TOML, an integer of too many digits, or nested too deep
        return text


def _check_names(spec: RunSpec) -> None:
    """Check the names inside a spec that refer to something."""
    if spec.training.network not in NETWORKS.entries:
        raise unknown("network", spec.training.network, NETWORKS.entries)
    for name, variant in spec.scoring.metrics.items():
        variants = metric_module(name).CARD.variants
        if variant not in variants:
            raise unknown(f"variant of {name}", variant, variants)
