"""Tables of names and the things they stand for: rows built in, of installed plug-ins, and of Python files."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from disentangle_bench import plugins
from disentangle_bench.errors import BenchError, torch_needed, unknown

if TYPE_CHECKING:
    from disentangle_bench.spec import File, Scalar


@dataclass(frozen=True)
class Entry:
    """One row of a registry: the thing's name, where to import it from, one line on what it is, and its group.

    ``fixed`` holds settings that belong to the row, since two rows of models may share a class. ``file`` is the file of
    a plug-in in one file.
    """

    name: str
    target: str
    summary: str
    group: str = "all"
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    file: File | None = None


class Registry:
    """A table of names and the things they stand for, which are imported only when asked for.

    A group stands for all rows that belong to it; ``aliases`` are further names, each of which stands for several
    groups.
    """

    def __init__(
        self,
        kind: str,
        entry_point_group: str,
        builtin: tuple[Entry, ...],
        aliases: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.kind = kind
        self.group = entry_point_group
        self._builtin = builtin
        self._aliases = aliases or {}

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Return all rows by name. A plug-in with a name that is already taken is an error."""
        rows = {entry.name: entry for entry in self._builtin}
        for point in entry_points(group=self.group):
            if point.name in rows:
                raise BenchError(
                    f"the plug-in {point.value!r} registers the {self.kind} {point.name!r}, a name that "
                    f"{rows[point.name].target!r} has already: rename or uninstall one of them"
                )
            rows[point.name] = Entry(point.name, point.value, f"plug-in {point.value}", group="plugin")
        return rows

    @property
    def groups(self) -> dict[str, list[str]]:
        """Return, for each group and alias, the names of the rows that it stands for."""
        members = {entry.group: (entry.group,) for entry in self.entries.values()} | self._aliases
        return {
            word: [entry.name for entry in self.entries.values() if entry.group in groups]
            for word, groups in members.items()
        }

    def names(self, asked: str) -> list[str]:
        """Return the names that a comma-separated list of names and groups stands for, in that order, each once.

        A name with a comma in it, such as a path, must be in double quotes.
        """
        names: dict[str, None] = {}
        files: dict[str, str] = {}
        for word in _words(asked):
            members = self.groups.get(word, [])
            if plugins.is_file(word):
                members = [self.canonical(word)]
                other = files.setdefault(members[0], word)
                if self.entries[members[0]].file != plugins.read(other)[0].file:
                    raise BenchError(f"{other} and {word} both have a {self.kind} {members[0]!r}: rename one of them")
            elif not members and word not in self.entries and not self.opens(word):
                raise unknown(self.kind, word, self.entries.keys() | self.groups.keys())
            names |= dict.fromkeys(members or [self.canonical(word)])
        if not names:
            raise BenchError(f"no {self.kind} was named in {asked!r}: give one or several of {', '.join(self.entries)}")
        return list(names)

    def summary(self, name: str) -> str:
        """Return one line about the entry called ``name``."""
        return self.entries[name].summary

    def opens(self, name: str) -> bool:
        """Return whether ``name`` can be opened although it is not in the table, as a file can."""
        return False

    def open(self, name: str) -> Any:
        """Return what a ``name`` that is not in the table stands for, if ``opens`` is true for it."""
        raise NotImplementedError

    def load(self, name: str) -> Any:
        """Import and return the thing called ``name``.

        Raises ``BenchError`` for an unknown name, and one that names the plug-in if it cannot be imported.
        """
        if name not in self.entries:
            if self.opens(name):
                return self.open(name)
            raise unknown(self.kind, name, self.entries)
        target, file = self.entries[name].target, self.entries[name].file
        if file is not None:
            return self._things(plugins.kept(file, Path()))[name]
        module, _, attribute = target.partition(":")
        try:
            with torch_needed():
                loaded: Any = importlib.import_module(module)
            return getattr(loaded, attribute) if attribute else loaded
        except BenchError:
            raise
        except (Exception, SystemExit) as error:  # the code of a plug-in may raise anything
            kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
            reason = " ".join(f"{kind}{error}".split())
            raise BenchError(
                f"the {self.kind} {name!r} ({target}) cannot be imported: {reason}. Mend or uninstall its package."
            ) from error

    def canonical(self, word: str) -> str:
        """Return the name that ``word`` stands for; a Python file stands for what is in it, which then gets a row."""
        if not plugins.is_file(word):
            return word
        return self._adopt(*plugins.read(word))

    def adopt_all(self, word: str) -> list[str]:
        """Add all things in a Python file that this table takes, or the one that ``:Name`` asks for; return their
        names.
        """
        source, asked = plugins.read(word)
        things = self._things(source)
        labels = _labels(things)
        names = list(things) if asked is None else [labels[asked]] if asked in labels else []
        for name in names:
            self._add(name, source)
        return names

    def name_of(self, thing: type) -> str:
        """Return the name of a class given as an object; a class without a row gets one, from its file."""
        target = f"{thing.__module__}:{thing.__qualname__}"
        for entry in self.entries.values():
            if (entry.target == target and not entry.fixed) or (entry.file and self.load(entry.name) is thing):
                return entry.name
        return self._adopt(*plugins.of_class(thing))

    def restore(self, name: str, file: File, out: Path) -> None:
        """Register a plug-in in one file in this process, from its copy in the results folder ``out``."""
        row = self.entries.get(name)
        if row is None or row.file is None or row.file.sha256 != file.sha256:
            self._add(name, plugins.kept(file, out))

    def _adopt(self, source: plugins.Source, asked: str | None) -> str:
        things = self._things(source)
        labels = _labels(things)
        if asked is not None and asked not in labels:
            if hasattr(plugins.load(source), asked):
                raise BenchError(f"{asked} in {source.path} is no {self.kind}, which is {self.wanted}")
            raise unknown(f"{self.kind} in {source.path.name}", asked, things)
        if asked is None and len(things) > 1:
            raise BenchError(f"{source.path} has several: name one, as {source.path.name}:{next(iter(things))}")
        if not things:
            raise BenchError(f"{source.path} has no {self.kind} in it: {self.wanted}")
        name = next(iter(things)) if asked is None else labels[asked]
        self._add(name, source)
        return name

    def _add(self, name: str, source: plugins.Source) -> None:
        taken = self.entries.get(name)
        if taken is not None and taken.file is None:
            raise BenchError(f"{source.path} has a {self.kind} {name!r}, a name that {taken.target!r} has: rename it")
        self._things(source)  # reads the source once, so that it can be loaded
        self.entries[name] = Entry(name, str(source.path), f"file {source.path}", "plugin", file=source.file)

    wanted = ""
    """What a file must contain, for an error message."""

    def _things(self, source: plugins.Source) -> dict[str, Any]:
        """Return the things in a file that this table takes, by the names they get, each with the file's version."""
        module, number = plugins.load(source), plugins.version(source.file)
        return self.candidates(module, number)

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the things in a plug-in's module that this table takes, by name, and set their versions."""
        raise NotImplementedError


def _labels(things: dict[str, Any]) -> dict[str, str]:
    """Return the name of each thing by all labels that a user may give: that name, and the name of its class."""
    classes = {thing.__name__: name for name, thing in things.items() if isinstance(thing, type)}
    return classes | {name: name for name in things}


def _classes(module: ModuleType) -> list[type]:
    """Return the classes that a module itself defines, without those that it imports."""
    return [thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == module.__name__]


class Models(Registry):
    """Table of models."""

    wanted = "a class that derives from disentangle_bench.Model; dbench new model NAME writes one"

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the models that a module defines; a class without a version of its own stays without one."""
        from disentangle_bench.models.model import Model

        models = {each.__name__: each for each in _classes(module) if issubclass(each, Model)}
        for each in models.values():
            if isinstance(getattr(each, "version", None), int):
                each.version = version
        return models


class Metrics(Registry):
    """Table of metrics."""

    wanted = "CARD, a disentangle_bench.MetricCard, and a function score; dbench new metric NAME writes them"

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the metric that a module implements, by its name, if it is one."""
        card: Any = getattr(module, "CARD", None)
        if not hasattr(card, "scores") or not callable(getattr(module, "score", None)):
            return {}
        vars(module)["CARD"] = replace(card, version=version, variant_versions={})
        return {card.name: module}


class Networks(Registry):
    """Table of networks."""

    wanted = "a class with the methods encoder and decoder"

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the networks that a module defines; their names include the version, since settings hold names."""
        networks = [each for each in _classes(module) if hasattr(each, "encoder") and hasattr(each, "decoder")]
        return {f"{each.__name__}@{version:013x}": each for each in networks}


def _words(text: str) -> list[str]:
    """Return the parts of a comma-separated list; a part in double quotes may have commas in it."""
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise BenchError(f"{text!r} is not a comma-separated list of names ({error})") from error
    return [part.strip() for part in parts if part.strip()]


class Datasets(Registry):
    """Table of datasets; the path of an image file is a name, too."""

    def summary(self, name: str) -> str:
        """Return the summary of the dataset's card, or the reason why a plug-in cannot be loaded."""
        try:
            return self.entries[name].summary or str(self.load(name).card.summary)
        except BenchError as error:
            return str(error)

    def canonical(self, word: str) -> str:
        """Return the name that ``word`` stands for; the path of an image file becomes its one standard spelling."""
        from disentangle_bench.data.custom import canonical_name

        name = super().canonical(word)
        return canonical_name(name) if name not in self.entries and self.opens(name) else name

    def opens(self, name: str) -> bool:
        """Return whether ``name`` is the path of an image file."""
        from disentangle_bench.data.custom import is_file_name

        return is_file_name(name)

    def open(self, name: str) -> Any:
        """Return the dataset class for the image file ``name``."""
        from disentangle_bench.data.custom import custom_class

        return custom_class(name)

    wanted = "a class that derives from disentangle_bench.Dataset; dbench new dataset NAME writes one"

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the datasets that a module defines, by the names on their cards."""
        from disentangle_bench.data.dataset import Card, Dataset

        datasets = {}
        for each in _classes(module):
            if issubclass(each, Dataset) and isinstance(getattr(each, "card", None), Card):
                each.card = replace(each.card, version=version)
                datasets[each.card.name] = each
        return datasets
