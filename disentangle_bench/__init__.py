"""disentangle_bench: a fair, versioned benchmark of disentanglement models.

    import disentangle_bench as db
    results = db.run(models="paper", datasets="rooms3d", protocol="quick", seeds=1, out="results/quick")
    results.leaderboard()
    codes = results["qlae", 0].codes()

The command is ``dbench``. ``disentangle_bench.metrics`` has the metrics as functions of arrays. Importing this package
is cheap: each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "api.grids": ("plan", "run", "show"),
    "api.listings": ("list_datasets", "list_metrics", "list_models", "list_protocols"),
    "api.results": ("Results", "Run", "load"),
    "api.scores": ("import_codes", "score"),
    "api.trained": ("TrainedModel",),
    "codes": ("Codes", "Evaluation"),
    "data.dataset": ("Card", "Dataset"),
    "errors": ("BenchError",),
    "metrics.metric": ("MetricCard", "MetricResult", "ScoreCard"),
    "models.model": ("ImageShape", "Logs", "Losses", "Model", "Noise", "Settings"),
    "models.networks": ("Network",),
    "report": ("write_report",),
    "scoring.selection": ("select",),
    "spec": ("RunSpec",),
    "testing": ("Violation", "check_dataset", "check_metric", "check_model"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

if TYPE_CHECKING:
    from disentangle_bench.api.grids import plan, run, show
    from disentangle_bench.api.listings import list_datasets, list_metrics, list_models, list_protocols
    from disentangle_bench.api.results import Results, Run, load
    from disentangle_bench.api.scores import import_codes, score
    from disentangle_bench.api.trained import TrainedModel
    from disentangle_bench.codes import Codes, Evaluation
    from disentangle_bench.data.dataset import Card, Dataset
    from disentangle_bench.errors import BenchError
    from disentangle_bench.metrics.metric import MetricCard, MetricResult, ScoreCard
    from disentangle_bench.models.model import ImageShape, Logs, Losses, Model, Noise, Settings
    from disentangle_bench.models.networks import Network
    from disentangle_bench.report import write_report
    from disentangle_bench.scoring.selection import select
    from disentangle_bench.spec import RunSpec
    from disentangle_bench.testing import Violation, check_dataset, check_metric, check_model

__all__ = [
    "BenchError",
    "Card",
    "Codes",
    "Dataset",
    "Evaluation",
    "ImageShape",
    "Logs",
    "Losses",
    "MetricCard",
    "MetricResult",
    "Model",
    "Network",
    "Noise",
    "Results",
    "Run",
    "RunSpec",
    "ScoreCard",
    "Settings",
    "TrainedModel",
    "Violation",
    "check_dataset",
    "check_metric",
    "check_model",
    "import_codes",
    "list_datasets",
    "list_metrics",
    "list_models",
    "list_protocols",
    "load",
    "plan",
    "report",
    "run",
    "score",
    "select",
    "show",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "report":  # the package of that name, which can be called
        return importlib.import_module(f"{__name__}.report")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from disentangle_bench.errors import torch_needed

    with torch_needed():
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return names for completion: the public ones, imported or not."""
    return [*__all__, "__version__"]
