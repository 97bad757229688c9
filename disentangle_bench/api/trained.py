"""A trained model for use in Python: images to codes, codes to images, traversals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from disentangle_bench.codes import Codes
from disentangle_bench.data.dataset import Dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.models.model import Model
from disentangle_bench.runner.environment import repeatable
from disentangle_bench.scoring.encode import BATCH, traversal
from disentangle_bench.spec import RunSpec
from disentangle_bench.training.batches import split_of
from disentangle_bench.training.trainer import build_model, to_float

WEIGHTS = "model.safetensors"


class TrainedModel:
    """A run's trained model in evaluation mode, on one device; ``Run.model`` makes it.

    ``module`` is the model itself, a ``torch.nn.Module``, for images of ``image_shape`` (c, h, w), and ``sample`` holds
    the codes of the run's evaluation images, which give traversals their ranges. On the CPU, with the run's number of
    ``threads`` and images in the order of its evaluation sample, codes are bit for bit those of the run.
    """

    def __init__(self, module: Model, sample: Codes, image_shape: tuple[int, int, int], threads: int) -> None:
        self.module = module.eval()
        self.threads = threads
        self._sample, self._image_shape = sample, image_shape

    def encode(self, images: npt.ArrayLike) -> Codes:
        """Return the codes of ``images``, uint8 [n, h, w, c], as arrays: ``values`` [n, d], ``indices`` [n, d] or None.

        Raises ``BenchError`` for another type or shape.
        """
        array = np.asarray(images)
        c, h, w = self._image_shape
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != (h, w, c):
            given = f"{array.dtype} {list(array.shape)}"
            raise BenchError(f"images are {given}: this model takes uint8 [n, {h}, {w}, {c}], channels last, 0 to 255")
        parts = [self._encoded(array[start : start + BATCH]) for start in range(0, len(array), BATCH)]
        if not parts:
            raise BenchError("there are no images: give at least one")
        columns = zip(*((part.values, part.indices, part.deviations) for part in parts), strict=True)
        return Codes(*(None if column[0] is None else np.concatenate(column) for column in columns))

    def _encoded(self, images: npt.NDArray[np.uint8]) -> Codes:
        with repeatable(self.threads), torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self._device)
            codes = self.module.encode(to_float(tensor))
        parts = (codes.values, codes.indices, codes.deviations)
        return Codes(*(None if part is None else part.cpu().numpy() for part in parts))

    def decode(self, codes: Codes | npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return images, uint8 [n, h, w, c], of ``codes`` as ``encode`` returns them, or of values [n, d] alone.

        A model whose latents are symbols needs their ``indices``, too. Raises ``BenchError`` if these are missing, and
        for another shape.
        """
        if not isinstance(codes, Codes):
            codes = Codes(np.asarray(codes, np.float32))
        d = self.module.config.latents
        if np.ndim(codes.values) != 2 or codes.values.shape[1] != d:
            raise BenchError(f"codes have shape {list(np.shape(codes.values))}: this model takes [n, {d}]")
        if self._sample.discrete and codes.indices is None:
            raise BenchError("this model's latents are symbols: give Codes with values and indices, as encode returns")
        with repeatable(self.threads), torch.inference_mode():
            indices = None if codes.indices is None else torch.as_tensor(codes.indices, device=self._device)
            images = self.module.decode(Codes(torch.as_tensor(codes.values, device=self._device), indices))
            bytes_ = images.clamp(0, 1).mul(255).round().to(torch.uint8)
        return bytes_.permute(0, 2, 3, 1).cpu().numpy()

    def traverse(self, image: npt.ArrayLike, latent: int, steps: int = 8) -> npt.NDArray[np.uint8]:
        """Return ``steps`` images, uint8 [steps, h, w, c], of ``image`` [h, w, c] with one latent changed.

        ``latent`` counts from 0. It moves over the middle 90 % of its values in the run's evaluation sample, or over
        the symbols in use. Raises ``BenchError`` for a latent that the model does not have.
        """
        d = self.module.config.latents
        if not 0 <= latent < d:
            raise BenchError(f"there is no latent {latent}: this model has 0 to {d - 1}")
        return self.decode(traversal(self.encode(np.asarray(image)[None]), self._sample, latent, steps))

    @property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device


def load_trained(
    spec: RunSpec, folder: Path, dataset: Dataset, sample: Codes, device: str, threads: int
) -> TrainedModel:
    """Return the trained model in a run's folder; raise ``BenchError`` if its weights are missing or do not fit."""
    card: Any = dataset.card
    module = build_model(spec, card, torch.device(device), n_train=len(split_of(spec, len(dataset)).train))
    path = folder / WEIGHTS
    try:
        module.load_state_dict(load_file(path, device=device))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"{path} cannot be loaded ({reason}): run the same dbench run with --rerun all") from error
    return TrainedModel(module, sample, card.image_shape, threads)
