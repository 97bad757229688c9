"""Which runs differ by one setting that was changed by hand, and so show what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from disentangle_bench.report.scores import one_line
from disentangle_bench.spec import flat

if TYPE_CHECKING:
    from disentangle_bench.store.runs import Record


@dataclass(frozen=True)
class Series:
    """Setups of one model (name and version) that differ by ``key`` only, in the order of its ``values``."""

    name: str
    model: tuple
    key: str
    values: tuple[Any, ...]
    setups: tuple[tuple, ...]


def series(records: Mapping[tuple, Sequence[Record]], fewest: int = 2) -> list[Series]:
    """All series of ``fewest`` values or more among the setups (tuples of SETUP) of one table, each with its runs.

    Setups are comparable if the same keys were changed and all but one have the same value. Where one key was changed,
    the run by the protocol joins, with the value that it has of that key.
    """
    specs = {setup: runs[0].spec for setup, runs in records.items()}
    groups: dict[tuple, list[tuple]] = {}
    for setup, spec in specs.items():
        if spec.changed:
            groups.setdefault((setup[0], setup[1], tuple(sorted(spec.changed))), []).append(setup)
    found = []
    for (model, version, keys), setups in sorted(groups.items()):
        tables = {setup: flat(specs[setup]) for setup in setups}
        if len(keys) == 1:
            plain = [setup for setup, spec in specs.items() if setup[:2] == (model, version) and not spec.changed]
            tables |= {setup: flat(specs[setup]) for setup in plain[:1]}
        for key in keys:
            others = [one for one in keys if one != key]
            fixed: dict[tuple, dict[Any, tuple]] = {}
            for setup, values in tables.items():
                if key in values:
                    rest = tuple(repr(values.get(one)) for one in others)
                    # A value that was set to what it is anyway: the run by the protocol stands for it.
                    if values[key] not in fixed.setdefault(rest, {}) or not setup[2]:
                        fixed[rest][values[key]] = setup
            for rest, by_value in sorted(fixed.items()):
                if len(by_value) >= fewest:
                    order = sorted(by_value, key=lambda value: (isinstance(value, str), value))
                    beside = ", ".join(f"{one}={value}" for one, value in zip(others, rest, strict=True))
                    name = one_line(f"{model} ({beside})" if beside else model)
                    found.append(
                        Series(name, (model, version), one_line(key), tuple(order), tuple(by_value[v] for v in order))
                    )
    return found
