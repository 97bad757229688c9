"""Names of models, datasets and metrics, built in and from plug-ins. No torch here.

A plug-in package adds rows through the entry-point groups ``disentangle_bench.models``, ``.datasets``, ``.metrics`` and
``.networks``: the entry's name is the row's name, and its value is ``module:Class`` (for metrics, the module). A Python
file that contains one of these is a name, too: ``path/to/file.py``, or ``path/to/file.py:Class``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from disentangle_bench.errors import BenchError
from disentangle_bench.names import Datasets, Entry, Metrics, Models, Networks, Registry

if TYPE_CHECKING:
    from disentangle_bench.data.dataset import Dataset
    from disentangle_bench.models.model import Model, Settings
    from disentangle_bench.models.networks import Network
    from disentangle_bench.spec import File, RunSpec, Scalar


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

MODELS = Models(
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

DATASETS = Datasets(
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

METRICS = Metrics(
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


NETWORKS = Networks(
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
    instance: Network = loaded() if isinstance(loaded, type) else loaded
    return instance


def model_config(name: str, settings: Mapping[str, Any]) -> Settings:
    """Return the frozen settings of the model called ``name``: ``settings``, overridden by what its row fixes.

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
    """Return the table that each name in a spec belongs to."""
    tables: dict[str, Registry] = dict.fromkeys(spec.scoring.metrics, METRICS)
    return tables | {spec.model: MODELS, spec.dataset: DATASETS, spec.training.network: NETWORKS}


def plugin_files(spec: RunSpec) -> dict[str, File]:
    """Return the files of the single-file plug-ins that a run uses, by the plug-ins' names."""
    entries = {name: table.entries.get(name) for name, table in _tables(spec).items()}
    return {name: entry.file for name, entry in entries.items() if entry is not None and entry.file is not None}


def activate(spec: RunSpec, out: Path) -> None:
    """Register the single-file plug-ins that a run uses in this process, from their copies in ``out``."""
    tables = _tables(spec)
    for name, file in spec.files.items():
        tables[name].restore(name, file, out)
