"""Digests of what every built-in model on every built-in dataset resolves to, under every protocol.

``python tests/support/resolved_digests.py --write`` writes tests/golden/resolved_digests.json anew. A change that is
meant has a line under Numbers in the CHANGELOG.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.config.resolve import resolve
from disentangle_bench.registry import DATASETS, MODELS

FILE = Path(__file__).parents[1] / "golden" / "resolved_digests.json"
VERSIONS = ("model_version", "dataset_version", "protocol_version")
"""Not digested: a version that is bumped is not another value."""


def built_in(table):
    return [row.name for row in table.entries.values() if row.group != "plugin"]


def digests(model: str) -> dict[str, dict[str, str]]:
    """The first 12 digits of each digest, by dataset and protocol."""
    return {dataset: {name: digest(model, dataset, name) for name in PROTOCOLS} for dataset in built_in(DATASETS)}


def digest(model: str, dataset: str, protocol: str) -> str:
    spec = resolve(model, dataset, protocol, 0).spec
    return spec.model_copy(update=dict.fromkeys(VERSIONS, 1)).digest[:12]


def lines(table: dict[str, dict[str, dict[str, str]]]) -> str:
    """JSON with a line per model and dataset."""
    models = []
    for model, datasets in table.items():
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in datasets.items())
        models.append(f" {json.dumps(model)}: {{\n{rows}\n }}")
    return "{\n" + ",\n".join(models) + "\n}\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: python {sys.argv[0]} --write")
    FILE.write_text(lines({model: digests(model) for model in built_in(MODELS)}))
