"""Names of models, datasets and metrics, built in and from plug-ins. No torch here.

A plug-in package adds rows through the entry-point groups ``disentangle_bench.models``, ``.datasets`` and
``.metrics``: the entry's name is the row's name, its value ``module:Class`` (for metrics the module).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.spec import Scalar

if TYPE_CHECKING:
    from types import ModuleType

    from disentangle_bench.data.dataset import Dataset
    from disentangle_bench.models.model import Model, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One row of a registry: the thing's name, where to import it from, one line on what it is, and its group.

    ``fixed`` are settings that belong to the row: two rows of models may share a class.
    """

    name: str
    target: str
    summary: str
    group: str = "all"
    fixed: Mapping[str, Scalar] = field(default_factory=dict)


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
        self._entry_point_group = entry_point_group
        self._builtin = builtin
        self._aliases = aliases or {}

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All rows by name. A plug-in with a name that is already taken is an error."""
        rows = {entry.name: entry for entry in self._builtin}
        for point in entry_points(group=self._entry_point_group):
            if point.name in rows:
                raise BenchError(
                    f"the plug-in {point.value!r} registers the {self.kind} {point.name!r}, a name that "
                    f"{rows[point.name].target!r} has already: rename or uninstall one of them"
                )
            rows[point.name] = Entry(point.name, point.value, f"plug-in {point.value}", group="plugin")
        return rows

    @property
    def groups(self) -> dict[str, list[str]]:
        """The words that stand for several rows, and the names of these rows."""
        words = {entry.group: (entry.group,) for entry in self.entries.values()} | self._aliases
        return {
            word: [entry.name for entry in self.entries.values() if entry.group in groups]
            for word, groups in words.items()
        }

    def names(self, asked: str) -> list[str]:
        """Expand a comma-separated list of names and groups, in the order given, each once."""
        names: dict[str, None] = {}
        for word in filter(None, (part.strip() for part in asked.split(","))):
            members = self.groups.get(word, [])
            if not members and word not in self.entries and not self.opens(word):
                raise unknown(self.kind, word, self.entries.keys() | self.groups.keys())
            names |= dict.fromkeys(members or [word])
        if not names:
            raise BenchError(f"no {self.kind} was named in {asked!r}: give one or several of {', '.join(self.entries)}")
        return list(names)

    def summary(self, name: str) -> str:
        """Return one line about the entry called ``name``."""
        return self.entries[name].summary

    def opens(self, name: str) -> bool:
        """Return whether ``name``, which is not in the table, can be opened all the same, as a file can."""
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
        target = self.entries[name].target
        module, _, attribute = target.partition(":")
        try:
            loaded: Any = importlib.import_module(module)
            return getattr(loaded, attribute) if attribute else loaded
        except (Exception, SystemExit) as error:  # the code of a plug-in may raise anything
            kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
            reason = " ".join(f"{kind}{error}".split())
            raise BenchError(
                f"the {self.kind} {name!r} ({target}) cannot be imported: {reason}. Mend or uninstall its package."
            ) from error


class _Datasets(Registry):
    """The table of datasets; the path of an image file is a name, too."""

    def summary(self, name: str) -> str:
        """Return the summary of the dataset's card, or why a plug-in's cannot be had."""
        try:
            return self.entries[name].summary or str(self.load(name).card.summary)
        except BenchError as error:
            return str(error)

    def opens(self, name: str) -> bool:
        """Return whether ``name`` is the path of an image file."""
        return name.lower().endswith((".npz", ".h5", ".hdf5"))

    def open(self, name: str) -> Any:
        """Return the dataset class for the image file ``name``."""
        from disentangle_bench.data.custom import custom_class

        return custom_class(name)


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

MODELS = Registry(
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

METRICS = Registry(
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


def model_class(name: str) -> type[Model]:
    """Return the model class called ``name`` (imports torch); raise ``BenchError`` if it lacks what a model has."""
    loaded: type[Model] = MODELS.load(name)
    for attribute in ("version", "Config", "losses", "encode", "decode"):
        if not hasattr(loaded, attribute):
            raise BenchError(
                f"the model {name!r} ({loaded.__name__}) has no {attribute!r}: derive its class from "
                "disentangle_bench.models.model.Model and give it version, Config, losses, encode and decode"
            )
    return loaded


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
