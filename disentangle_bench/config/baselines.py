"""Baselines: ``baselines/<model>.toml``, a model's settings on each dataset, and their sources. No torch here.

``[settings]`` applies to every dataset. ``[datasets.NAME]`` adds a dataset's own settings and names their source. A
line in ``[transfers]`` lets a dataset without published settings use those of another one. ``[protocols.NAME]`` is for
a protocol that requires other settings, because two sources disagree. ``[search]`` has the ranges in which settings are
searched, each with its source (``config.search``).
"""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from disentangle_bench.errors import BenchError
from disentangle_bench.registry import MODELS, model_class
from disentangle_bench.spec import Part, Scalar, first_problem

Kind = Literal["published", "transferred", "ours"]


class Section(Part):
    """Settings on one dataset: ``published`` for it, ``transferred`` from another one, or our own choice."""

    kind: Kind
    reference: str
    note: str = ""
    settings: dict[str, Scalar] = Field(default_factory=dict)


class Transfer(Part):
    """Transfer of settings: the dataset that they are taken from, and the reason."""

    origin: str = Field(alias="from")
    reason: str


class ProtocolSection(Part):
    """Settings under one protocol: ``published`` for some datasets, transferred to the others."""

    reference: str
    note: str = ""
    published: tuple[str, ...] = ()
    settings: dict[str, Scalar]


class Range(Part):
    """Values among which a search draws a setting: log-uniform between two numbers, or one of several values.

    A range of rates per update is meant for runs of the same length as the baseline's own value.
    """

    log: tuple[float, float] | None = None
    choice: tuple[Scalar, ...] | None = None
    source: str

    @model_validator(mode="after")
    def _is_one_range(self) -> Range:
        if (self.log is None) == (self.choice is None):
            raise ValueError("a range of [search] is either log = [LOW, HIGH] or choice = [...]")
        if self.log and not 0 < self.log[0] < self.log[1]:
            raise ValueError(f"log = {list(self.log)} is no range: give two positive numbers, the lower first")
        if self.choice is not None and len(set(self.choice)) < max(2, len(self.choice)):
            raise ValueError(f"choice = {list(self.choice)} is no choice: give two different values or more")
        return self

    def at(self, share: float) -> Scalar:
        """Return the value at a ``share`` in [0, 1) of the range.

        Numbers are rounded to three digits, which are the same on every machine, however it rounds logarithms.
        """
        if self.choice:
            return self.choice[int(share * len(self.choice))]
        assert self.log
        low, high = self.log
        return min(max(float(f"{low * (high / low) ** share:.3g}"), low), high)


@dataclass(frozen=True)
class Layer:
    """Settings that replace those of the layers before, and the file, section and source that they come from."""

    source: str
    settings: dict[str, Scalar]


class Baseline(Part):
    """Content of one baseline file."""

    settings: dict[str, Scalar] = Field(default_factory=dict)
    datasets: dict[str, Section] = Field(default_factory=dict)
    transfers: dict[str, Transfer] = Field(default_factory=dict)
    protocols: dict[str, ProtocolSection] = Field(default_factory=dict)
    search: dict[str, Range] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _transfers_have_an_origin(self) -> Baseline:
        for name, transfer in self.transfers.items():
            if name in self.datasets:
                raise ValueError(f"{name} has both [datasets.{name}] and a line in [transfers]: keep one of them")
            if transfer.origin not in self.datasets:
                raise ValueError(f"transfers.{name} is from {transfer.origin!r}, which has no section in [datasets]")
        return self

    def section(self, dataset: str) -> Section | None:
        """Return the settings and source of ``dataset``, with the reason for a transfer; None if there are none."""
        transfer = self.transfers.get(dataset)
        if transfer is None:
            return self.datasets.get(dataset)
        origin = self.datasets[transfer.origin]
        note = f"Settings for {transfer.origin}: {transfer.reason} {origin.note}".rstrip()
        kind: Kind = "transferred" if origin.kind == "published" else origin.kind
        return origin.model_copy(update={"kind": kind, "note": note})

    def layers(self, dataset: str, protocol: str, file: str) -> list[Layer]:
        """Return layers of settings on ``dataset`` under ``protocol``; their sources begin with the name ``file``."""
        section, transfer = self.section(dataset), self.transfers.get(dataset)
        origin = f": {section.kind}, {section.reference}" if section else ""
        label = f"[transfers] {dataset}, as [datasets.{transfer.origin}]" if transfer else f"[datasets.{dataset}]"
        layers = [Layer(f"{file} [settings]{origin}", self.settings)]
        if section:
            layers.append(Layer(f"{file} {label}{origin}", section.settings))
        if protocol in self.protocols:
            rules = self.protocols[protocol]
            kind = "published" if dataset in rules.published else "transferred"
            layers.append(Layer(f"{file} [protocols.{protocol}]: {kind}, {rules.reference}", rules.settings))
        return layers


def folder() -> Path:
    """Return the folder with the files: inside an installed package, or beside the package in a checkout.

    An editable install does not see the mapping of ``baselines/`` into the package, hence the two folders.
    """
    package = Path(__file__).parents[1]
    for candidate in (package / "baseline_files", package.parent / "baselines"):
        if candidate.is_dir():
            return candidate
    raise BenchError(f"the baselines are missing from {package}: install disentangle-bench again")


def read(model: str) -> tuple[Baseline, str]:
    """Return the baseline of ``model``, empty if it has no file, and the name of the file for messages.

    For a plug-in's model, the file is ``baselines/<model>.toml`` or ``<model>.toml`` beside the module of its class.
    """
    name = f"{model}.toml"
    if MODELS.entries[model].group != "plugin":
        return parse(folder() / name), f"baselines/{name}"
    beside = Path(inspect.getfile(model_class(model))).parent
    for path in (beside / "baselines" / name, beside / name):
        if path.exists():
            return parse(path), str(path)
    return Baseline(), name


def parse(path: Path) -> Baseline:
    """Return the baseline in one file.

    Raises ``BenchError``, which names file and key, for an unknown key and a value of the wrong kind.
    """
    try:
        return Baseline.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BenchError(f"{path}: {first_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} is not valid TOML: {error}") from error
