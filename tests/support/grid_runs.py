"""What tests of whole runs share: the start of a real command, and all that a results folder's runs hold."""

from __future__ import annotations

import json
import sys

import numpy as np
from safetensors.numpy import load_file

RUN = [sys.executable, "-m", "disentangle_bench", "run", "--datasets", "rooms3d", "--seeds", "1", "--protocol", "smoke"]


def contents(out):
    """Scores, weights, codes and history of every run, by run id."""
    runs = {}
    for folder in sorted((out / "runs").iterdir()):
        record = json.loads((folder / "record.json").read_text())
        weights = {name: array.tobytes() for name, array in load_file(folder / "model.safetensors").items()}
        with np.load(folder / "codes.npz", allow_pickle=False) as file:
            codes = {name: file[name].tobytes() for name in file.files}
        runs[folder.name] = (record["scores"], weights, codes, (folder / "history.csv").read_text())
    return runs
