"""Check the suite's contracts: ``check_model``, ``check_dataset``, ``check_metric`` and ``check_network``.

The suite runs these functions on its own registry; authors of plug-ins run them on theirs, for instance from pytest.
Each raises ``Violation`` at the first breach of the contract, and returns None if there is none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from disentangle_bench.codes import Codes, Evaluation
from disentangle_bench.data.dataset import Card, Dataset
from disentangle_bench.metrics.metric import MetricCard
from disentangle_bench.models.model import ImageShape, Model, Noise, Settings
from disentangle_bench.models.networks import Network
from disentangle_bench.registry import network
from disentangle_bench.training.trainer import evaluated, sum_of

GROUP_KEYS = {"params", "lr_scale", "betas", "weight_decay"}


class Violation(AssertionError):
    """Error: a model, dataset or metric breaks the suite's contract; the message names the rule."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise Violation(message)


@contextmanager
def _untouched_generators(what: str) -> Iterator[None]:
    """Check that the ``with`` block does not use the global generators of torch, numpy and Python."""
    torch_before, numpy_before, python_before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    yield
    numpy_same = all(np.array_equal(a, b) for a, b in zip(numpy_before, np.random.get_state(), strict=True))  # noqa: NPY002
    same = torch.equal(torch_before, torch.get_rng_state()) and numpy_same and python_before == random.getstate()
    _require(same, f"{what} uses a global random generator: draw from the noise it is given")


def check_model(
    model_class: type[Model],
    config: Settings | None = None,
    *,
    image_shape: ImageShape = (3, 64, 64),
    network_name: str = "conv64",
    latents: int = 4,
    quick: bool = False,
) -> None:
    """Check ``model_class`` against the contract ``Model``, in float32 and, unless ``quick``, float64.

    ``config`` defaults to the class's own defaults with ``latents`` latents. It is checked with images of
    ``image_shape`` (c, h, w) and the network ``network_name``. Raises ``Violation`` for the first rule that is broken,
    and ``BenchError`` for an unknown network.
    """
    _require(issubclass(model_class, Model), f"{model_class.__name__} must derive from Model")
    _require(isinstance(getattr(model_class, "version", None), int), f"{model_class.__name__} needs an integer version")
    config = config or model_class.Config(latents=latents)
    for _, rule in model_points(model_class, config, image_shape, network_name, quick=quick):
        rule()


def model_points(
    model_class: type[Model], config: Settings, image_shape: ImageShape, network_name: str, *, quick: bool
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield each point of ``check_model``, in order, with the check that raises if the point is broken."""
    frozen = type(config).model_config.get("frozen") is True
    yield "its Config is frozen", lambda: _require(frozen, "the Config must be frozen: derive it from Settings")
    for dtype in (torch.float32,) if quick else (torch.float32, torch.float64):
        kind = str(dtype).removeprefix("torch.")
        model, x = _fresh(model_class, config, image_shape, network_name, dtype)
        other, _ = _fresh(model_class, config, image_shape, network_name, dtype, seed=1)
        yield f"parameter groups hold every parameter once ({kind})", partial(_check_groups, model)
        yield f"losses are finite, repeatable and reach every parameter ({kind})", partial(_check_losses, model, x)
        yield f"what it says of CUDA graphs is so ({kind})", partial(_check_capturable, model, x)
        yield f"finishing twice is finishing once ({kind})", partial(_check_finish, model, x)
        yield (
            f"encodes to values [n, d] and decodes to images ({kind})",
            partial(_check_codes, model, x, config.latents),
        )
        yield f"is all in its state_dict ({kind})", partial(_check_saving, model, other, x)


def _fresh(
    model_class: type[Model],
    config: Settings,
    image_shape: ImageShape,
    network_name: str,
    dtype: torch.dtype,
    seed: int = 0,
) -> tuple[Model, Tensor]:
    make: Any = model_class
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        model: Model = make(config, image_shape=image_shape, n_train=1000, network=network(network_name)).to(dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(8 * config.players, *image_shape, generator=generator, device="cpu").to(dtype)
    return model, x


def _losses(model: Model, x: Tensor, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    result: Any = model.losses(x, 0, Noise(torch.Generator().manual_seed(seed)))
    pair = isinstance(result, tuple) and len(result) == 2 and all(isinstance(part, Mapping) for part in result)
    _require(pair, f"losses returns a {type(result).__name__}, not two mappings: losses by player, and logs by name")
    losses, logs = result
    return evaluated(losses), logs


def _check_groups(model: Model) -> None:
    groups = model.param_groups()
    for group in groups:
        _require(set(group) <= GROUP_KEYS, f"param_groups has keys {sorted(set(group) - GROUP_KEYS)} nobody reads")
    held = [id(parameter) for group in groups for parameter in group["params"]]
    own = [id(parameter) for parameter in model.parameters()]
    _require(sorted(held) == sorted(own), "param_groups must hold every parameter of the model exactly once")


def _check_losses(model: Model, x: Tensor) -> None:
    model.train()
    with _untouched_generators("losses"):
        losses, logs = _losses(model, x)
    for name, value in {**losses, **logs}.items():
        _require(value.shape == (), f"{name} has shape {tuple(value.shape)}: losses and logs are scalars")
        _require(bool(torch.isfinite(value)), f"{name} is not finite on random images")
    for name, loss in losses.items():
        _require(loss.dtype == x.dtype, f"the loss of {name} is {loss.dtype} for images in {x.dtype}")
    again, _ = _losses(model, x)
    _require(all(torch.equal(losses[name], again[name]) for name in losses), "losses differ for the same noise")
    _check_players(model, again)
    model.zero_grad()
    sum_of(losses).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        _require(gradient is not None and bool(gradient.any()), f"the parameter {name} gets no gradient")
        assert gradient is not None
        _require(bool(torch.isfinite(gradient).all()), f"the gradient of {name} is not finite")


class _NoHost(TorchDispatchMode):
    """Mode in which reading a tensor's number is an error, as it is while a CUDA graph is captured."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise Violation(
                "losses asks the host for a tensor's number (float(tensor), if tensor): use tensor operations, or set "
                "capturable = False"
            )
        return func(*args, **(kwargs or {}))


def _check_capturable(model: Model, x: Tensor) -> None:
    """Check that a capturable model takes the clock as a tensor and asks no tensor for its number."""
    if not model.capturable:
        return
    now = torch.tensor(7.0, dtype=torch.float64, device=x.device)
    noises = [Noise(torch.Generator().manual_seed(0)) for _ in range(2)]
    with _NoHost():
        losses = evaluated(model.losses(x, now, noises[0])[0])
    for name, loss in evaluated(model.losses(x, 7, noises[1])[0]).items():
        same = torch.allclose(losses[name], loss, rtol=1e-5)
        _require(same, f"the loss of {name} is another at step tensor(7.) than at step 7")


def _check_players(model: Model, losses: dict[str, Tensor]) -> None:
    """Check that no parameter gets a gradient from two players' losses."""
    owner: dict[str, str] = {}
    names, parameters = zip(*model.named_parameters(), strict=True)
    for player, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None and gradient.any():
                other = owner.setdefault(name, player)
                _require(other == player, f"{name} gets a gradient from the losses of {other} and {player}: detach one")


def _check_finish(model: Model, x: Tensor) -> None:
    """Check that finishing a finished model again changes nothing."""
    model.eval()
    with torch.no_grad():
        model.finish(lambda n: iter(x[:n].split(3)))  # imports libraries, which may draw numbers
        first = {name: value.clone() for name, value in model.state_dict().items()}
        with _untouched_generators("finish"):
            model.finish(lambda n: iter(x[:n].split(3)))
    same = all(torch.equal(first[name], value) for name, value in model.state_dict().items())
    _require(same, "finish finds something else the second time: fit to nothing that it has set itself")


def _check_codes(model: Model, x: Tensor, d: int) -> None:
    model.eval()
    with torch.inference_mode(), _untouched_generators("encode or decode"):
        codes, again, alone = model.encode(x), model.encode(x), model.encode(x[:1])
        images = model.decode(codes)
    n = len(x)
    _require(tuple(codes.values.shape) == (n, d), f"encode gives values {tuple(codes.values.shape)}, not ({n}, {d})")
    _require(codes.values.dtype == x.dtype, f"encode gives values of {codes.values.dtype} for images in {x.dtype}")
    _require(torch.equal(codes.values, again.values), "encode is not deterministic")
    _require(torch.allclose(codes.values[:1], alone.values, atol=1e-4), "an image's code depends on its batch")
    _require(tuple(images.shape) == tuple(x.shape), f"decode gives {tuple(images.shape)} for images {tuple(x.shape)}")
    if codes.indices is not None and again.indices is not None:
        _require(tuple(codes.indices.shape) == (n, d), f"indices are {tuple(codes.indices.shape)}, not ({n}, {d})")
        _require(
            not codes.indices.is_floating_point() and bool((codes.indices >= 0).all()), "indices are not 0, 1, ..."
        )
        _require(torch.equal(codes.indices, again.indices), "encode's indices are not deterministic")


def _check_saving(model: Model, other: Model, x: Tensor) -> None:
    """Check that weights loaded into a model with another initialisation give the same codes and images."""
    other.load_state_dict(model.state_dict())
    other.eval()
    with torch.inference_mode():
        codes, loaded = model.encode(x), other.encode(x)
        same = torch.equal(codes.values, loaded.values) and torch.equal(model.decode(codes), other.decode(loaded))
    _require(same, "a model loaded from another's state_dict gives other codes: something is not in the state_dict")


def check_network(network: Network, *, image_shape: ImageShape = (3, 64, 64), latents: int = 4) -> None:
    """Check that a network makes an encoder of images and a decoder to images of ``image_shape``."""
    x = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    outputs = network.encoder(image_shape, latents)(x)
    _require(tuple(outputs.shape) == (2, latents), f"the encoder gives {tuple(outputs.shape)}, not (2, {latents})")
    images = network.decoder(latents, image_shape)(outputs)
    _require(tuple(images.shape) == tuple(x.shape), f"the decoder gives {tuple(images.shape)}, not {tuple(x.shape)}")


def check_dataset(dataset: Dataset, *, device: str = "cpu", images: int = 64) -> None:
    """Check a loaded ``dataset`` against the contract ``Dataset``, on ``images`` random positions and on ``device``.

    Raises ``Violation`` for the first rule that is broken.
    """
    card = dataset.card
    _require(isinstance(card, Card), "a dataset needs a card")
    _require(len(card.factor_names) == len(card.factor_sizes), "factor_names and factor_sizes differ in length")
    _require(len(set(card.factor_names)) == len(card.factor_names), "two factors have the same name")
    n, (c, h, w) = len(dataset), card.image_shape
    index = np.random.default_rng(0).integers(0, n, size=images)
    index[:2] = 0, n - 1
    factors = dataset.factors(index)
    _require(factors.shape == (images, len(card.factor_sizes)), f"factors has shape {factors.shape}")
    within = (factors >= 0).all() and (factors < np.array(card.factor_sizes)).all()
    _require(bool(within), "a factor lies outside 0 .. size-1")
    pixels = dataset.images(index)
    _require(pixels.dtype == np.uint8, f"images gives {pixels.dtype}, not uint8")
    _require(pixels.shape == (images, h, w, c), f"images gives {pixels.shape}, the card says {(images, h, w, c)}")
    _require(np.array_equal(pixels, dataset.images(index)), "images gives other bytes the second time")
    _require(len(np.unique(pixels)) > 1, "all pixels are the same")
    batches = dataset.place(torch.device(device))
    batch = batches(index)
    _require(
        batch.dtype == torch.uint8 and tuple(batch.shape) == (images, c, h, w), "place gives no bytes [b, c, h, w]"
    )
    _require(batch.is_contiguous(memory_format=torch.channels_last), "place's batches are not channels-last in memory")
    _require(np.array_equal(batch.cpu().permute(0, 2, 3, 1).numpy(), pixels), "place and images give different bytes")
    if batches.gather is not None:
        gathered = batches.gather(torch.from_numpy(index).to(device))
        _require(torch.equal(gathered, batch), "gather gives other bytes than place's batches")


def check_metric(module: ModuleType) -> None:
    """Check a metric's ``module``: its ``CARD``, and ``score`` on continuous and discrete codes in every variant.

    Raises ``Violation`` for the first rule that is broken.
    """
    card = module.CARD
    _require(isinstance(card, MetricCard), "a metric needs a CARD, a MetricCard")
    _require(
        card.version >= 1 and bool(card.scores) and bool(card.variants), "the CARD lacks version, scores or variants"
    )
    rng = np.random.default_rng(0)
    factors = rng.integers(0, [3, 2, 4], size=(300, 3))
    values = factors[:, [0, 1, 2, 0]] + 0.1 * rng.standard_normal((300, 4))
    indices = factors[:, [0, 1, 2, 0]].copy()
    errors = rng.random(300)
    for codes in (Codes(values), Codes(indices.astype(np.float64), indices)):
        for variant in card.variants:
            names = {score.name for score in card.scores_of(variant)}
            evaluation = Evaluation(codes, factors, n_train=200, squared_error=errors)
            kept = codes.values.copy()
            first = module.score(evaluation, variant=variant, rng=0)  # imports libraries, which may draw numbers
            with _untouched_generators(f"{card.name}.score"):
                second = module.score(evaluation, variant=variant, rng=0)
            where = f"{card.name} ({variant}, {'discrete' if codes.discrete else 'continuous'} codes)"
            _require(
                set(first.scores) == names, f"{where} gives scores {sorted(first.scores)}, the card has {sorted(names)}"
            )
            same = all(np.array_equal(first.scores[name], second.scores[name], equal_nan=True) for name in names)
            _require(same, f"{where} gives other scores the second time")
            undefined = [name for name in names if not np.isfinite(first.scores[name])]
            _require(not undefined or bool(first.notes), f"{where}: {undefined} are not finite and no note says why")
            _require(np.array_equal(codes.values, kept), f"{where} changes the codes it is given")
