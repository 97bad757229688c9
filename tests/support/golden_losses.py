"""The golden losses of every built-in model: first updates of the smoke protocol on rooms3d, on the networks of the
ranked protocols, and Tripod's on its own.

``python tests/support/golden_losses.py --write`` writes tests/golden/losses.json anew. A change of the numbers that is
meant bumps the version of what it changes and has a line in the CHANGELOG.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.files import data_folder
from disentangle_bench.models.networks import NETWORKS, AdaIN, Residual
from disentangle_bench.registry import MODELS, dataset_class, model_class
from disentangle_bench.training.trainer import Trainer

FILE = Path(__file__).parents[1] / "golden" / "losses.json"
NAMES = [entry.name for entry in MODELS.entries.values() if entry.group != "plugin"]
NARROW = {"residual": Residual(width=0.125), "adain": AdaIN(width=0.125)}
CASES = [(name, network) for name in NAMES for network in (["adain"] if name == "tripod" else ["conv64", "residual"])]
"""Models and networks. Without layers that normalise, Tripod's first codes hardly differ, and its densities and
curvatures are rounding error divided by next to nothing: other processors have other ones.
"""

STEPS = (0, 1, 2, 4, 9, 19)
"""The updates whose losses are kept, counted from 0."""

SETTINGS = {
    "kl_weight": 0.5,
    "gamma": 0.5,
    "discriminator_layers": 1,
    "quantisation_weight": 0.5,
    "commitment_weight": 0.2,
    "activity_weight": 0.3,
    "temperature_decay": 0.05,
    "lambda_od": 0.5,
    "lambda_d": 0.5,
    "capacity": 2.0,
    "capacity_steps": 15,
    "weight_decay": 5.0,
    "klm_weight": 1e-3,
    "nhp_weight": 1e-3,
    "delta": 0.3,
}
"""In place of the baselines' values: so that a changed term is seen in 20 updates, and no term drowns the others."""


def losses(name: str, network: str) -> dict[str, list[float]]:
    """A model's losses and logs by name at ``STEPS``. Networks but conv64 are an eighth as wide as in protocols."""
    fields = model_class(name).Config.model_fields.keys() - MODELS.entries[name].fixed
    changes = [f"model.{key}={value}" for key, value in SETTINGS.items() if key in fields]
    batch = 8 if "klm_weight" in fields else 2  # of two images a density cannot be told
    spec = resolve(
        name, "rooms3d", "smoke", 0, [*changes, f"training.network={network}", f"training.batch_size={batch}"]
    ).spec
    full, threads = dict(NETWORKS), torch.get_num_threads()
    torch.set_num_threads(1)
    NETWORKS.update(NARROW)
    try:
        trainer = Trainer(spec, dataset_class("rooms3d").load(data_folder(None)), torch.device("cpu"))
        if network == "residual":  # so narrow, hardly anything comes through its first weights
            for parameter in [*trainer.model.encoder.parameters(), *trainer.model.decoder.parameters()]:
                parameter.data *= 3
        rows = [trainer.update() for _ in range(1 + STEPS[-1])]
    finally:
        NETWORKS.update(full)
        torch.set_num_threads(threads)
    return {key: [float(rows[step][key]) for step in STEPS] for key in rows[0]}


def golden(name: str) -> dict[str, object]:
    """What the file has of one model."""
    content = {network: losses(name, network) for case, network in CASES if case == name}
    rounded = {
        network: {key: [float(f"{value:.7g}") for value in values] for key, values in numbers.items()}
        for network, numbers in content.items()
    }
    return {"version": model_class(name).version, **rounded}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: python {sys.argv[0]} --write")
    FILE.write_text(json.dumps({name: golden(name) for name in NAMES}, indent=1) + "\n")
