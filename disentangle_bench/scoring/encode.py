"""Compute codes, squared errors and pictures of a trained model, encoding the held-out images once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.data.dataset import Dataset
from disentangle_bench.models.model import Model, Noise
from disentangle_bench.spec import RunSpec, seed_for
from disentangle_bench.training.batches import evaluation_sample
from disentangle_bench.training.trainer import to_float

BATCH = 250
PICTURES, STEPS = 8, 8


def encode(
    model: Model, dataset: Dataset, spec: RunSpec, device: torch.device, progress: Callable[[int, int], None]
) -> Evaluation:
    """Return codes, factors and squared errors of the evaluation sample."""
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
        index=index,
    )


def draw(model: Model, dataset: Dataset, evaluation: Evaluation, device: torch.device) -> dict[str, Any]:
    """Return pictures as bytes: ``originals``, ``reconstructions`` and ``traversals``.

    The first two [m, h, w, c] are of the first evaluation images. The traversals [d, steps, h, w, c] are of the first
    image, with one latent moved through the values it has in the sample.
    """
    codes = evaluation.codes
    assert evaluation.index is not None  # ``encode`` made it
    d = codes.values.shape[1]
    with torch.inference_mode():

        def decoded(rows: Codes) -> npt.NDArray[np.uint8]:
            indices = None if rows.indices is None else torch.from_numpy(rows.indices).to(device)
            images = model.decode(Codes(torch.from_numpy(rows.values).to(device), indices))
            images = images.clamp(0, 1).mul(255).round().to(torch.uint8)
            return images.permute(0, 2, 3, 1).cpu().numpy()

        few = slice(0, PICTURES)
        return {
            "originals": dataset.images(evaluation.index[few]),
            "reconstructions": decoded(_rows(codes, few)),
            "traversals": np.stack([decoded(traversal(_rows(codes, [0]), codes, j)) for j in range(d)]),
        }


def _rows(codes: Codes, rows: Any) -> Codes:
    return Codes(codes.values[rows], None if codes.indices is None else codes.indices[rows])


def traversal(code: Codes, sample: Codes, j: int, steps: int = STEPS) -> Codes:
    """Return the single row of ``code`` repeated ``steps`` times, with latent j moved.

    The latent moves over the middle 90 % of its values in ``sample``, or over the symbols in use there.
    """
    moved = _rows(code, np.zeros(steps, dtype=np.int64))
    if sample.indices is None:
        moved.values[:, j] = np.quantile(sample.values[:, j], np.linspace(0.05, 0.95, steps))
        return moved
    symbols, first = np.unique(sample.indices[:, j], return_index=True)
    order = np.argsort(sample.values[first, j], kind="stable")
    moves = order[np.linspace(0, len(order) - 1, steps).round().astype(np.int64)]
    moved.values[:, j] = sample.values[first[moves], j]
    assert moved.indices is not None
    moved.indices[:, j] = symbols[moves]
    return moved
