"""Order the training images by pure functions of seeds, the same on all machines and numpy versions, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from disentangle_bench.data.correlation import NONE, weights
from disentangle_bench.data.dataset import Dataset, Index
from disentangle_bench.spec import RunSpec, seed_for, split_sizes


def permutation(n: int, *key: int | str) -> Index:
    """Return a random order of 0 .. n-1 that depends only on ``key``.

    It sorts n raw numbers of the Philox generator, because numpy guarantees that stream for ever, unlike that of
    ``Generator.permutation``.
    """
    return np.argsort(np.random.Philox(seed_for(*key)).random_raw(n), kind="stable").astype(np.int64)


def with_replacement(n: int, draws: int, *key: int | str) -> Index:
    """Return ``draws`` numbers from 0 .. n-1, all equally likely, that depend only on ``key``."""
    # The remainder of 64 random bits favours small numbers by less than n / 2**64.
    return (np.random.Philox(seed_for(*key)).random_raw(draws) % np.uint64(n)).astype(np.int64)


@dataclass(frozen=True)
class Split:
    """Positions of the training, validation and test images, each in random order."""

    train: Index
    validation: Index
    test: Index


def split(n: int, seed: int | None = None) -> Split:
    """Return the split of n images, which is the same for all models, seeds and protocols unless a seed is given."""
    order = permutation(n, "split", n) if seed is None else permutation(n, "split", n, seed)
    sizes = split_sizes(n)
    train, held_out = order[: sizes["train"]], order[sizes["train"] :]
    return Split(train, held_out[: sizes["validation"]], held_out[sizes["validation"] :])


def split_of(spec: RunSpec, n: int) -> Split:
    """Return the split of a dataset of n images with which a run is trained and scored."""
    if spec.training.split == "none":
        nothing = np.zeros(0, dtype=np.int64)
        return Split(np.arange(n, dtype=np.int64), nothing, nothing)
    return split(n, spec.seed if spec.training.split == "seed" else None)


def evaluation_sample(spec: RunSpec, n: int) -> tuple[Index, int]:
    """Return the positions of the images, out of n, on which a run is scored, and how many of them fit predictors.

    A split that is too small is used as a whole, in the same proportion.
    """
    scoring = spec.scoring
    wanted = scoring.train_images + scoring.test_images
    if scoring.images == "all":
        return with_replacement(n, wanted, spec.seed, "evaluation"), scoring.train_images
    parts = split_of(spec, n)
    held_out = (parts.validation if scoring.images == "validation" else parts.test)[:wanted]
    return held_out, len(held_out) * scoring.train_images // wanted


class Stream:
    """Batches of training images: every image once per epoch, each epoch in its own order.

    ``batch(step)`` depends only on the seed and the step, so a resumed run has nothing to restore, and all models with
    the same seed and batch size see the same images. A batch that reaches past the end of an epoch takes the rest from
    the next one.
    """

    def __init__(self, images: Index, batch_size: int, seed: int) -> None:
        self.images = images
        self.batch_size = batch_size
        self._order = lru_cache(maxsize=2)(lambda epoch: permutation(len(images), seed, "epoch", epoch))

    def batch(self, step: int) -> Index:
        """Return the positions [batch_size] of the images of one update."""
        parts, position, missing = [], step * self.batch_size, self.batch_size
        while missing:
            epoch, offset = divmod(position, len(self.images))
            part = self._order(epoch)[offset : offset + missing]
            parts.append(part)
            position, missing = position + len(part), missing - len(part)
        return self.images[np.concatenate(parts)]

    def sample(self, n: int) -> Index:
        """Return the positions of n images that represent those trained on, or of all images if there are fewer."""
        return self.images[:n]


class WeightedStream:
    """Batches of training images that are drawn independently, each image in proportion to its weight.

    ``batch(step)`` depends only on the seed and the step, like that of ``Stream``.
    """

    def __init__(self, images: Index, weights: npt.NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.images = images
        self.batch_size = batch_size
        self._seed = seed
        self._ends = np.cumsum(weights)

    def batch(self, step: int) -> Index:
        """Return the positions [batch_size] of the images of one update."""
        return self._draw(self.batch_size, "weighted", step)

    def sample(self, n: int) -> Index:
        """Return the positions of n images drawn with the same weights."""
        return self._draw(n, "weighted sample", 0)

    def _draw(self, draws: int, purpose: str, number: int) -> Index:
        raw = np.random.Philox(seed_for(self._seed, purpose, number)).random_raw(draws)
        # 53 random bits give an exact number on [0, 1); its product with the sum is rounded, perhaps up to the sum.
        total = int(self._ends[-1])
        points = np.minimum(((raw >> np.uint64(11)) * (total * 2.0**-53)).astype(np.int64), total - 1)
        return self.images[np.searchsorted(self._ends, points, side="right")]


def stream_of(spec: RunSpec, dataset: Dataset, batch_size: int) -> Stream | WeightedStream:
    """Return the stream of training images of a run; a correlation of factors, if any, is in how images are drawn."""
    train = split_of(spec, len(dataset)).train
    if spec.data.correlation == NONE:
        return Stream(train, batch_size, spec.seed)
    chances = weights(spec.data.correlation, dataset.card, dataset.factors(train))
    return WeightedStream(train, chances, batch_size, spec.seed)
