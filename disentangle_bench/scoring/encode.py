"""Scores a trained model on held-out images: encodes once, streams the squared error, calls the metrics."""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from disentangle_bench.atomic import atomic_path
from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.data.dataset import Dataset
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.metrics.metric import as_arrays, as_codes, read_codes
from disentangle_bench.models.model import Model, Noise
from disentangle_bench.registry import metric_module
from disentangle_bench.spec import RunSpec, seed_for
from disentangle_bench.training.batches import evaluation_sample
from disentangle_bench.training.trainer import to_float

BATCH = 250
PICTURES, STEPS = 8, 8

KEYS = {"codes", "factors", "n_train", "discrete", "indices", "squared_error"}
"""Arrays of a file with an evaluation."""


@dataclass
class Scores:
    """What the metrics say of one evaluation: rows for the record, their matrices, remarks, and seconds by metric."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def encode(
    model: Model, dataset: Dataset, spec: RunSpec, device: torch.device, progress: Callable[[int, int], None]
) -> Evaluation:
    """Codes, factors and squared errors of the evaluation sample."""
    index, n_train = evaluation_sample(spec, len(dataset))
    noise = Noise(torch.Generator(device).manual_seed(seed_for(spec.seed, "codes")))
    images = dataset.place(device)
    values, indices, errors = [], [], []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(index), BATCH):
            x = to_float(images(index[start : start + BATCH]))
            codes = model.encode(x)
            if spec.scoring.codes == "sample" and codes.deviations is not None:
                codes = Codes(codes.values + codes.deviations * noise.normal(codes.values))
            error = (model.decode(codes) - x).square().double().mean(dim=(1, 2, 3))
            values.append(codes.values.cpu().numpy())
            errors.append(error.cpu().numpy())
            if codes.indices is not None:
                indices.append(codes.indices.cpu().numpy())
            progress(min(start + BATCH, len(index)), len(index))
    return Evaluation(
        codes=Codes(np.concatenate(values), np.concatenate(indices) if indices else None),
        factors=dataset.factors(index),
        n_train=n_train,
        squared_error=np.concatenate(errors),
    )


def score(
    evaluation: Evaluation, metrics: dict[str, str], progress: Callable[[str], None] = lambda name: None
) -> Scores:
    """Run the metrics, given as name to variant, on one evaluation."""
    scores = Scores()
    for name, variant in metrics.items():
        progress(name)
        module = metric_module(name)
        if variant not in module.CARD.variants:
            raise unknown(f"variant of {name}", variant, module.CARD.variants)
        began = time.monotonic()
        result = module.score(evaluation, variant=variant, rng=0)
        scores.seconds[name] = time.monotonic() - began
        for card in module.CARD.scores_of(variant):
            scores.rows.append(
                {
                    "metric": name,
                    "score": card.name,
                    "value": float(result.scores[card.name]),
                    "higher_is_better": card.higher_is_better,
                    "ranked": card.ranked,
                    "unit": card.unit,
                    "variant": variant,
                    "version": module.CARD.version,
                    "paper": module.CARD.paper,
                }
            )
        scores.arrays |= {f"{name}.{key}": array for key, array in result.arrays.items()}
        if result.notes:
            scores.notes[name] = dict(result.notes)
    return scores


def draw(model: Model, dataset: Dataset, evaluation: Evaluation, spec: RunSpec, device: torch.device) -> Any:
    """Pictures as bytes: ``originals`` and ``reconstructions`` [m, h, w, c] of the first evaluation images, and
    ``traversals`` [d, steps, h, w, c]: the first image with one latent moved through what the sample shows of it.
    """
    index, _ = evaluation_sample(spec, len(dataset))
    codes = evaluation.codes
    d = codes.values.shape[1]
    with torch.inference_mode():

        def decoded(rows: Codes) -> npt.NDArray[np.uint8]:
            indices = None if rows.indices is None else torch.from_numpy(rows.indices).to(device)
            images = model.decode(Codes(torch.from_numpy(rows.values).to(device), indices))
            images = images.clamp(0, 1).mul(255).round().to(torch.uint8)
            return images.permute(0, 2, 3, 1).cpu().numpy()

        few = slice(0, PICTURES)
        return {
            "originals": dataset.images(index[few]),
            "reconstructions": decoded(_rows(codes, few)),
            "traversals": np.stack([decoded(_traversal(codes, j)) for j in range(d)]),
        }


def _rows(codes: Codes, rows: Any) -> Codes:
    return Codes(codes.values[rows], None if codes.indices is None else codes.indices[rows])


def _traversal(codes: Codes, j: int) -> Codes:
    """The first row's codes, latent j moved over the middle 90 % of its values, or over the symbols it uses."""
    moved = _rows(codes, np.zeros(STEPS, dtype=np.int64))
    if codes.indices is None:
        moved.values[:, j] = np.quantile(codes.values[:, j], np.linspace(0.05, 0.95, STEPS))
        return moved
    symbols, first = np.unique(codes.indices[:, j], return_index=True)
    order = np.argsort(codes.values[first, j], kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, STEPS).round().astype(np.int64)]
    moved.values[:, j] = codes.values[first[chosen], j]
    assert moved.indices is not None
    moved.indices[:, j] = symbols[chosen]
    return moved


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed ``.npz``, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation as ``dbench score`` reads it: ``codes``, ``factors``, ``n_train``, ``discrete``, and, where
    there are any, ``indices`` and ``squared_error``.
    """
    arrays = {
        "codes": evaluation.codes.values,
        "factors": evaluation.factors,
        "n_train": np.int64(evaluation.n_train),
        "discrete": np.bool_(evaluation.codes.discrete),
    }
    if evaluation.codes.indices is not None:
        arrays["indices"] = evaluation.codes.indices
    if evaluation.squared_error is not None:
        arrays["squared_error"] = evaluation.squared_error
    save_arrays(path, arrays)


def load_evaluation(path: Path) -> Evaluation:
    """Read what ``save_evaluation`` wrote, or anybody's codes.

    ``codes`` [n, d] and ``factors`` [n, k] are needed. Without ``n_train`` the last third of the rows (rounded down)
    tests; without ``discrete`` the codes are symbols if they are integers. Raises ``BenchError`` for a file that is
    damaged, holds other arrays, arrays that do not fit together, or pickled objects, which are refused unread.
    """
    arrays = _plain_arrays(path)
    codes = as_codes(arrays["codes"])
    discrete = bool(_scalar(path, arrays, "discrete", codes.dtype.kind in "iu"))
    if "indices" in arrays and discrete:
        found = read_codes(Codes(codes, arrays["indices"]), None)
    else:
        found = read_codes(codes, discrete)
    n_train = _scalar(path, arrays, "n_train", len(codes) - len(codes) // 3)
    checked = as_arrays(codes, arrays["factors"], n_train)
    error = arrays.get("squared_error")
    if error is not None and error.shape != (len(codes),):
        raise BenchError(f"{path}: squared_error has shape {list(error.shape)}, codes have {len(codes)} rows")
    return Evaluation(found, checked.factors, checked.n_train, error)


def _plain_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise BenchError(f"there is no file {str(path)!r}: give an .npz with codes and factors, or a results folder")
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BenchError(
            f"{path} cannot be read as an .npz of plain arrays ({reason}): save it with numpy.savez, no object arrays"
        ) from error
    missing = sorted({"codes", "factors"} - set(arrays))
    unknown_keys = sorted(set(arrays) - KEYS)
    if missing or unknown_keys:
        raise BenchError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; needed are codes [n, d] and factors [n, k], allowed "
            f"besides are {', '.join(sorted(KEYS - {'codes', 'factors'}))}"
        )
    return arrays


def _scalar(path: Path, arrays: dict[str, npt.NDArray[Any]], key: str, default: int | bool) -> Any:
    value = arrays.get(key, np.asarray(default))
    if value.size != 1:
        raise BenchError(f"{path}: {key} has shape {list(value.shape)}; one number is needed")
    return value.item()
