"""The golden files: codes, and what the original implementations of the metrics give for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden" / "metrics"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))


class Golden(NamedTuple):
    codes: np.ndarray
    factors: np.ndarray
    n_train: int
    discrete: bool
    expected: dict[str, Any]


def load(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    return Golden(arrays["codes"], arrays["factors"], int(arrays["n_train"]), bool(arrays["discrete"]), expected)
