"""Check that a dataset can be trained on and scored as a spec asks: when a grid is expanded, not after training."""

from __future__ import annotations

from disentangle_bench.data.correlation import pairs
from disentangle_bench.data.dataset import Card
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import network
from disentangle_bench.spec import RunSpec, split_sizes


def check_usable(spec: RunSpec, card: Card) -> None:
    """Raise ``BenchError`` if the images do not fit the network, or are too few to train and score with."""
    check = getattr(network(spec.training.network), "check", None)
    if check is not None:
        try:
            check(card.image_shape)
        except BenchError as error:
            own = f"write {spec.dataset}{'&' if '?' in spec.dataset else '?'}resize=64, or pad the images"
            hint = f"; {own}" if "/" in spec.dataset else "; take another network"
            raise BenchError(f"{spec.dataset}: {error}{hint}") from error
    pairs(spec.data.correlation, card)
    scoring = spec.scoring
    if spec.training.split == "none" and scoring.images != "all":
        raise BenchError(
            f"training.split=none trains on every image, so none are left for scoring.images={scoring.images}: "
            "set scoring.images=all, or leave training.split as it is"
        )
    wanted = scoring.train_images + scoring.test_images
    sizes = split_sizes(card.n)
    if spec.training.split == "none":
        sizes["train"] = card.n
    rows = wanted if scoring.images == "all" else min(wanted, sizes[scoring.images])
    fitted = rows * scoring.train_images // wanted
    if not sizes["train"] or fitted < 2 or rows == fitted:
        raise BenchError(
            f"{spec.dataset} has {card.n} images: {sizes['train']} to train on, and to score on {fitted} that fit and "
            f"{rows - fitted} that test; at least 1, 2 and 1 are needed, so give more images."
        )
