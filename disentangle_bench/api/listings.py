"""List the names that other functions accept, each with a line that describes it."""

from __future__ import annotations

from disentangle_bench.config.protocols import listed_protocols
from disentangle_bench.registry import DATASETS, METRICS, MODELS, Registry


def list_models(names: str = "every") -> dict[str, str]:
    """Return a line about each model, by its name.

    ``names`` are comma-separated names or groups (paper, extended, every, plugin). Raises ``BenchError`` for others.
    """
    return _lines(MODELS, names)


def list_datasets(names: str = "all") -> dict[str, str]:
    """Return a line about each dataset, by its name.

    ``names`` are comma-separated names or groups (all, plugin). Raises ``BenchError`` for others.
    """
    return _lines(DATASETS, names)


def list_metrics(names: str = "all") -> dict[str, str]:
    """Return a line about each metric, by its name.

    ``names`` are comma-separated names or groups (all, plugin). Raises ``BenchError`` for others.
    """
    return _lines(METRICS, names)


def list_protocols() -> dict[str, str]:
    """Return a line about each protocol and family for correlated factors (``cpu-correlated-SET``), by its name."""
    return {name: summary for name, _, summary in listed_protocols()}


def _lines(table: Registry, names: str) -> dict[str, str]:
    return {name: table.summary(name) for name in table.names(names)}
