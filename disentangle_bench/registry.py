"""Names of models, datasets and metrics, built in and from plug-ins. No torch here.

A plug-in package adds rows through the entry-point groups ``disentangle_bench.models``, ``.datasets`` and
``.metrics`` and ``.networks``: the entry's name is the row's name, its value ``module:Class`` (for metrics the module).
A Python file with one of these in it is a name, too: ``path/to/file.py``, or ``path/to/file.py:Class``.
"""

from __future__ import annotations

import csv
import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from disentangle_bench import plugins
from disentangle_bench.errors import BenchError, torch_needed, unknown
from disentangle_bench.spec import File, RunSpec, Scalar

if TYPE_CHECKING:
    from disentangle_bench.data.dataset import Dataset
    from disentangle_bench.models.model import Model, Settings
    from disentangle_bench.models.networks import Network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One row of a registry: the thing's name, where to import it from, one line on what it is, and its group.

    ``fixed`` are settings that belong to the row: two rows of models may share a class. ``file`` is that of a plug-in
    in one file.
    """

    name: str
    target: str
    summary: str
    group: str = "all"
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    file: File | None = None


class Registry:
    """A table of names and the things they stand for, which are imported only when asked for.

    A group stands for all rows that belong to it; ``aliases`` are further words, each for several groups.
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
        """Return the group names that stand for several rows, and the names of these rows."""
        words = {entry.group: (entry.group,) for entry in self.entries.values()} | self._aliases
        return {
            word: [entry.name for entry in self.entries.values() if entry.group in groups]
            for word, groups in words.items()
        }

    def names(self, asked: str) -> list[str]:
        """Expand a comma-separated list of names and groups, in the order given, each once.

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
        """Return whether ``name``, which is not in the table, can be opened nevertheless, as a file can."""
        return False

    def open(self, name: str) -> Any:
        """Return what ``name`` stands for, which is not in the table and for which ``opens`` is true."""
        raise NotImplementedError

    def load(self, name: str) -> Any:
        """Import and return the thing called ``name``. The error names a plug-in that cannot be imported."""
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
        """Return the names of everything in a Python file, or of what ``:Name`` asks for, if this table takes it."""
        source, asked = plugins.read(word)
        things = self._things(source)
        labels = _labels(things)
        names = list(things) if asked is None else [labels[asked]] if asked in labels else []
        for name in names:
            self._add(name, source)
        return names

    def name_of(self, thing: type) -> str:
        """Return the name of a class given as an object; one that has no row gets one, by its file."""
        target = f"{thing.__module__}:{thing.__qualname__}"
        for entry in self.entries.values():
            if (entry.target == target and not entry.fixed) or (entry.file and self.load(entry.name) is thing):
                return entry.name
        return self._adopt(*plugins.of_class(thing))

    def restore(self, name: str, file: File, out: Path) -> None:
        """Make a plug-in in one file known in this process, from its copy in the results folder ``out``."""
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
    """What a file must have in it, for an error."""

    def _things(self, source: plugins.Source) -> dict[str, Any]:
        """Return what a file has for this table, by the name that it gets, each with the file's version."""
        module, number = plugins.load(source), plugins.version(source.file)
        return self.candidates(module, number)

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return what a plug-in's module has for this table, by name, and set its version."""
        raise NotImplementedError


def _labels(things: dict[str, Any]) -> dict[str, str]:
    """Return names of things by whatever they may be called: their own names, and those of their classes."""
    return {getattr(thing, "__name__", name): name for name, thing in things.items()} | {name: name for name in things}


def _classes(module: ModuleType) -> list[type]:
    """Return the classes that a module defines and does not import."""
    return [thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == module.__name__]


class _Models(Registry):
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


class _Metrics(Registry):
    """Table of metrics."""

    wanted = "CARD, a disentangle_bench.MetricCard, and a function score; dbench new metric NAME writes them"

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the metric that a module is."""
        card: Any = getattr(module, "CARD", None)
        if not hasattr(card, "scores") or not callable(getattr(module, "score", None)):
            return {}
        vars(module)["CARD"] = replace(card, version=version, variant_versions={})
        return {card.name: module}


class _Networks(Registry):
    """Table of networks."""

    wanted = "a class with the methods encoder and decoder"

    def candidates(self, module: ModuleType, version: int) -> dict[str, Any]:
        """Return the networks that a module defines; their names hold the version, for it is a setting's value."""
        made = [each for each in _classes(module) if hasattr(each, "encoder") and hasattr(each, "decoder")]
        return {f"{each.__name__}@{version:013x}": each for each in made}


def _words(text: str) -> list[str]:
    """Return the parts of a comma-separated list; a part in double quotes may have commas in it."""
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise BenchError(f"{text!r} is not a comma-separated list of names ({error})") from error
    return [part.strip() for part in parts if part.strip()]


class _Datasets(Registry):
    """Table of datasets; the path of an image file is a name, too."""

    def summary(self, name: str) -> str:
        """Return the summary of the dataset's card, or the reason why a plug-in's cannot be loaded."""
        try:
            return self.entries[name].summary or str(self.load(name).card.summary)
        except BenchError as error:
            return str(error)

    def canonical(self, word: str) -> str:
        """Return the name that ``word`` stands for: for the path of an image file, the one spelling of it."""
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


def _model(name: str, class_name: str, summary: str, group: str = "paper", module: str = "", **fixed: Scalar) -> Entry:
    return Entry(name, f"disentangle_bench.models.{module or name}:{class_name}", summary, group, fixed)


def _dataset(name: str, target: str) -> Entry:
    return Entry(name, f"disentangle_bench.data.{target}", summary="")  # the card has one


def _metric(name: str, summary: str) -> Entry:
    return Entry(name, f"disentangle_bench.metrics._{name}", summary)


_NO_DISCRIMINATOR: dict[str, Scalar] = {
    "gamma": 0.0,
    "discriminator_layers": 5,
    "discriminator_lr_scale": 1.0,
    "discriminator_beta1": 0.9,
    "discriminator_beta2": 0.999,
}

MODELS = _Models(
    "model",
    "disentangle_bench.models",
    (
        _model("beta_vae", "BetaVAE", "Gaussian latents, weighted KL (Higgins et al. 2017)"),
        _model("factor_vae", "FactorVAE", "beta-VAE with a total correlation from a discriminator (Kim & Mnih 2018)"),
        _model("beta_tcvae", "BetaTCVAE", "beta-VAE with the KL split by minibatch estimates (Chen et al. 2018)"),
        _model("vq_vae", "VQVAE", "one token per latent, shared vector codebook (van den Oord et al. 2017)"),
        _model("qlae", "QLAE", "one scalar codebook per latent, strong weight decay (Hsu et al. 2023)"),
        _model("factor_qvae", "FactorQVAE", "one global scalar codebook, total correlation (Baykal et al. 2024)"),
        _model("ae", "AE", "plain autoencoder", "extended"),
        _model("ae_ica", "AEICA", "autoencoder, independent components afterwards (Nelson et al. 2026)", "extended"),
        _model("bio_ae", "BioAE", "nonnegative latents of little energy (Whittington et al. 2023)", "extended"),
        _model("annealed_vae", "AnnealedVAE", "KL held at a growing capacity (Burgess et al. 2018)", "extended"),
        _model(
            "dip_vae_i",
            "DIPVAE",
            "covariance of the means near identity (Kumar et al. 2018)",
            "extended",
            module="dip_vae",
            covariance="means",
        ),
        _model(
            "dip_vae_ii",
            "DIPVAE",
            "covariance of the samples near identity (Kumar et al. 2018)",
            "extended",
            module="dip_vae",
            covariance="samples",
        ),
        _model(
            "dvae",
            "FactorDVAE",
            "Gumbel-softmax symbols, global scalar codebook (Baykal et al. 2024)",
            "extended",
            module="factor_dvae",
            **_NO_DISCRIMINATOR,
        ),
        _model("factor_dvae", "FactorDVAE", "dvae with a total correlation (Baykal et al. 2024)", "extended"),
        _model(
            "q_vae",
            "FactorQVAE",
            "FactorQVAE without total correlation (Baykal et al. 2024)",
            "extended",
            module="factor_qvae",
            embedding_dim=1,
            codebook="global",
            **_NO_DISCRIMINATOR,
        ),
        _model("fsq", "FSQ", "latents rounded to a fixed even grid (Mentzer et al. 2023)", "extended"),
        _model("tripod", "Tripod", "fsq with less multi-information and curvature (Hsu et al. 2024)", "extended"),
        _model("hfs", "HFS", "beta-VAE whose codes fill a product of ranges (Roth et al. 2023)", "extended"),
    ),
    {"all": ("paper",), "every": ("paper", "extended")},
)

DATASETS = _Datasets(
    "dataset",
    "disentangle_bench.datasets",
    (
        _dataset("rooms3d", "rooms3d:Rooms3D"),
        _dataset("dsprites_rendered", "dsprites_rendered:DSpritesRendered"),
        _dataset("shapes3d", "shapes3d:Shapes3D"),
        _dataset("dsprites", "dsprites:DSprites"),
        _dataset("mpi3d_toy", "mpi3d:MPI3DToy"),
        _dataset("mpi3d_realistic", "mpi3d:MPI3DRealistic"),
        _dataset("mpi3d_real", "mpi3d:MPI3DReal"),
        _dataset("mpi3d_real_complex", "mpi3d:MPI3DRealComplex"),
        _dataset("isaac3d", "isaac3d:Isaac3D"),
        _dataset("falcor3d", "falcor3d:Falcor3D"),
        _dataset("cars3d", "cars3d:Cars3D"),
        _dataset("smallnorb", "smallnorb:SmallNORB"),
    ),
)

METRICS = _Metrics(
    "metric",
    "disentangle_bench.metrics",
    (
        _metric("dci", "disentanglement, completeness, informativeness from boosted trees"),
        _metric("infomec", "modularity, explicitness, compactness from mutual information"),
        _metric("mse", "reconstruction error and PSNR on held-out images"),
        _metric("latents", "active latents and codebook perplexity"),
        _metric("mig", "mutual information gap"),
        _metric("sap", "separated attribute predictability"),
        _metric("modularity", "Ridgeway & Mozer's modularity"),
        _metric("mcc", "correlation of factors and latents matched one to one"),
        _metric("minimality", "minimality and sufficiency of single latents"),
        _metric("factor_vae_score", "majority vote on the latent of least variance"),
        _metric("beta_vae_score", "linear classification of the fixed factor"),
    ),
)


GROUP_METRICS = Registry(
    "metric of a group of runs",
    "disentangle_bench.group_metrics",
    (
        _metric("consistency", "R2 of the best permutation, rotation and linear map between seeds"),
        _metric("udr", "agreement of latents with those of other seeds"),
    ),
)
"""Metrics that compare the codes of several runs: modules with a ``CARD`` and a function of the module's name."""


NETWORKS = _Networks(
    "network",
    "disentangle_bench.networks",
    (
        Entry("conv64", "disentangle_bench.models.networks:Conv64", "small convolutions (Locatello et al. 2019)"),
        Entry("residual", "disentangle_bench.models.networks:Residual", "residual blocks (Baykal et al. 2024)"),
        Entry(
            "adain", "disentangle_bench.models.networks:AdaIN", "instance norm and AdaIN of Tripod (Hsu et al. 2024)"
        ),
        Entry("style", "disentangle_bench.models.networks:Style", "style-modulated network of QLAE (Hsu et al. 2023)"),
    ),
)


def model_class(name: str) -> type[Model]:
    """Return the model class called ``name`` (imports torch); raise ``BenchError`` if it lacks part of the contract."""
    loaded: type[Model] = MODELS.load(name)
    for attribute in ("version", "Config", "losses", "encode", "decode"):
        if not hasattr(loaded, attribute):
            raise BenchError(
                f"the model {name!r} ({loaded.__name__}) has no {attribute!r}: derive its class from "
                "disentangle_bench.models.model.Model and give it version, Config, losses, encode and decode"
            )
    return loaded


def network(name: str) -> Network:
    """Return the network called ``name``, which makes encoders and decoders (imports torch)."""
    from disentangle_bench.models import networks

    if name in networks.NETWORKS:
        return networks.NETWORKS[name]
    loaded: Any = NETWORKS.load(name)
    made: Network = loaded() if isinstance(loaded, type) else loaded
    return made


def model_config(name: str, settings: Mapping[str, Any]) -> Settings:
    """Return the frozen settings of the model called ``name``: ``settings``, and on top of them what its row fixes.

    Raises pydantic's ``ValidationError`` for unknown keys and for values that are not allowed.
    """
    return model_class(name).Config.model_validate({**settings, **MODELS.entries[name].fixed})


def dataset_class(name: str) -> type[Dataset]:
    """Return the dataset class called ``name``."""
    loaded: type[Dataset] = DATASETS.load(name)
    return loaded


def metric_module(name: str) -> ModuleType:
    """Return the metric's module: ``CARD`` and ``score(evaluation, variant=..., rng=...)``."""
    loaded: ModuleType = METRICS.load(name)
    return loaded


def _tables(spec: RunSpec) -> dict[str, Registry]:
    """Return the table of each name in a spec."""
    tables: dict[str, Registry] = dict.fromkeys(spec.scoring.metrics, METRICS)
    return tables | {spec.model: MODELS, spec.dataset: DATASETS, spec.training.network: NETWORKS}


def plugin_files(spec: RunSpec) -> dict[str, File]:
    """Return the files of the plug-ins in one file that a run uses, by their names."""
    entries = {name: table.entries.get(name) for name, table in _tables(spec).items()}
    return {name: entry.file for name, entry in entries.items() if entry is not None and entry.file is not None}


def activate(spec: RunSpec, out: Path) -> None:
    """Make the plug-ins in one file that a run uses known in this process, from their copies in ``out``."""
    tables = _tables(spec)
    for name, file in spec.files.items():
        tables[name].restore(name, file, out)
