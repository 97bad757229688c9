"""The one training loop: step-based, resumable, and the same for every model."""

from __future__ import annotations

import copy
import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.atomic import write_text
from disentangle_bench.data.dataset import Card, Dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.models.model import Losses, Model, Noise
from disentangle_bench.models.networks import lay_out
from disentangle_bench.registry import model_class, model_config, network
from disentangle_bench.spec import RunSpec, Training, seed_for
from disentangle_bench.training.batches import stream_of
from disentangle_bench.training.capture import CapturedUpdate
from disentangle_bench.training.checkpoints import checkpoints, write_checkpoint
from disentangle_bench.training.inputs import DeviceInputs, HostInputs, Sources
from disentangle_bench.training.precision import compiled, in_bfloat16, memory_format, tf32

HISTORY = "history.csv"
HISTORY_ROWS = 100
CHECKPOINT_SECONDS = 60.0
FINISH_BATCH = 250

log = logging.getLogger(__name__)


class Diverged(RuntimeError):
    """Error: the loss is no longer a finite number."""


class Interrupted(Exception):
    """Error: the run was asked to stop; its checkpoint has been written."""


def learning_rate(training: Training, step: int) -> float:
    """Return the learning rate at ``step``, on half a cosine from ``learning_rate`` to ``final_learning_rate``.

    The cosine ends at the last step or, if ``half_cosine`` is given, at that step, from where the rate climbs again.
    """
    progress = step / (training.half_cosine or max(1, training.updates - 1))
    span = training.learning_rate - training.final_learning_rate
    return training.final_learning_rate + 0.5 * span * (1 + math.cos(math.pi * progress))


def build_model(spec: RunSpec, card: Card, device: torch.device, *, n_train: int) -> Model:
    """Return a new model on ``device``, whose initial weights depend only on the seed.

    torch's global generator is seeded for the constructor and restored afterwards. The model is made on the CPU first,
    so that all devices start the same.
    """
    config = model_config(spec.model, spec.settings)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Seed only the CPU: torch.manual_seed would seed every CUDA device, and this fork_rng restores none of them.
        torch.default_generator.manual_seed(seed_for(spec.seed, "weights"))
        make: Any = model_class(spec.model)  # the abstract class has no constructor of its own to check against
        built: Any = make(config, image_shape=card.image_shape, n_train=n_train, network=network(spec.training.network))
    model: Model = built.to(device=device)
    model.reconstruction = spec.training.reconstruction
    lay_out(model, memory_format(device, spec.training.precision))
    return model


def build_optimizer(model: Model, training: Training) -> torch.optim.Optimizer:
    """Return one Adam for all players, with decoupled weight decay; groups keep their ``lr_scale`` for the schedule."""
    groups = [{"lr_scale": 1.0, "weight_decay": 0.0} | group for group in model.param_groups()]
    on_cuda = next(model.parameters()).device.type == "cuda"
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True, capturable=on_cuda)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return bytes 0 .. 255 as numbers 0 .. 1."""
    return images.to(torch.float32).div_(255)


def evaluated(losses: Losses) -> dict[str, torch.Tensor]:
    """Return each player's loss as a scalar, evaluated in their order."""
    return {player: loss if isinstance(loss, torch.Tensor) else loss() for player, loss in losses.items()}


def sum_of(losses: Losses) -> torch.Tensor:
    """Return the scalar whose gradient all players follow."""
    return torch.stack(list(evaluated(losses).values())).sum()


class Trainer:
    """One run's training: the model, its optimiser and generator, and its progress.

    It touches the disk only in ``restore``, ``save``, and ``run`` with a folder. ``compile`` compiles the networks.
    ``capture`` turns the update into a CUDA graph, on a CUDA device and for a model that allows it; numbers are the
    same either way.
    """

    def __init__(
        self, spec: RunSpec, dataset: Dataset, device: torch.device, *, compile: bool = False, capture: bool = False
    ) -> None:
        self.spec = spec
        training = spec.training
        players = model_config(spec.model, spec.settings).players
        self.stream = stream_of(spec, dataset, training.batch_size * players)
        self.model = build_model(spec, dataset.card, device, n_train=len(self.stream.images))
        self.optimizer = build_optimizer(self.model, training)
        if training.precision == "bf16":
            in_bfloat16(self.model, device)
        if compile:
            compiled(self.model)
        self.generator = torch.Generator(device).manual_seed(seed_for(spec.seed, "noise"))
        self.noise = Noise(self.generator)
        self.images = dataset.place(device)
        clock = players if training.clock == "optimiser_steps" else 1
        sources = Sources(self.images, self.stream, self.optimizer, self._rates, clock)
        on_device = device.type == "cuda" and self.model.capturable
        self.memory_format = memory_format(device, training.precision)
        self.inputs = DeviceInputs(sources, device) if on_device else HostInputs(sources)
        self.captured = on_device and capture
        self._compute: Callable[[], dict[str, torch.Tensor]] = self._uncaptured
        if self.captured:
            self._compute = CapturedUpdate(self._uncaptured, self.optimizer, self.generator)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0

    def _rates(self, step: int) -> list[float]:
        rate = learning_rate(self.spec.training, step)
        return [rate * group["lr_scale"] for group in self.optimizer.param_groups]

    def update(self) -> dict[str, torch.Tensor]:
        """Do one update of every player on the next images, and return losses and logs by name, for the history.

        The next captured update overwrites them. Raises ``BenchError`` after the first update if the model does not
        use the protocol's reconstruction error.
        """
        with tf32(self.spec.training.precision == "tf32"):
            self.inputs.seek(self.step)
            numbers = self._compute()
        if self.step == 0 and not self.model.measured:
            raise BenchError(
                f"{self.spec.model} does not minimise training.reconstruction={self.model.reconstruction}: take "
                "self.error(self.decoder(z), x) in its losses and self.images(self.decoder(z)) in decode"
            )
        self.step += 1
        return numbers

    def _uncaptured(self) -> dict[str, torch.Tensor]:
        images, clock = self.inputs.take()
        x = to_float(images).contiguous(memory_format=self.memory_format)
        losses, logs = self.model.losses(x, clock, self.noise)
        in_turn = self.spec.training.steps == "in_turn"
        values: dict[str, torch.Tensor] = {}
        for turn in [{player: loss} for player, loss in losses.items()] if in_turn else [losses]:
            now = evaluated(turn)
            self.optimizer.zero_grad()
            sum_of(now).backward()
            if self.spec.training.gradient_clip:
                torch.nn.utils.clip_grad_value_(self.model.parameters(), self.spec.training.gradient_clip)
            self.optimizer.step()  # skips parameters without a gradient: those of the other players
            values |= now
        values = {f"loss.{player}": loss for player, loss in values.items()} | logs
        return {name: value.detach() for name, value in values.items()}

    def run(
        self,
        folder: Path | None = None,
        *,
        progress: Callable[[int], None] = lambda step: None,
        should_stop: Callable[[], bool] = lambda: False,
        on_row: Callable[[dict[str, float]], None] = lambda row: None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> Model:
        """Train to the end and return the model, with checkpoints in ``folder`` if one is given.

        ``on_row`` is called with each new row of the history. Raises ``Diverged`` if a loss or logged number is not
        finite, and ``Interrupted``, after writing a checkpoint, if ``should_stop`` returns true between two updates.
        """
        self.model.train()
        updates = self.spec.training.updates
        every = max(1, updates // HISTORY_ROWS)
        began = saved = time.monotonic()
        before = self.seconds
        while self.step < updates:
            numbers = self.update()
            if self.step % every == 0 or self.step == updates:
                self.log(numbers)
                on_row(self.history[-1])
            self.seconds = before + time.monotonic() - began
            progress(self.step)
            if should_stop() and self.step < updates:
                if folder is not None:
                    self.save(folder)
                raise Interrupted(f"stopped after update {self.step} of {updates}")
            if folder is not None and time.monotonic() - saved > checkpoint_seconds:
                self.save(folder)
                saved = time.monotonic()
        self.model.eval()
        with torch.no_grad():
            self.model.finish(self.training_images)
        if folder is not None:
            self.save(folder)
        return self.model

    def training_images(self, n: int) -> Iterator[torch.Tensor]:
        """Yield the first n training images, or all if there are fewer, as numbers 0 .. 1, in batches."""
        index = self.stream.sample(n)
        for start in range(0, len(index), FINISH_BATCH):
            yield to_float(self.images(index[start : start + FINISH_BATCH]))

    def log(self, tensors: dict[str, torch.Tensor]) -> None:
        """Add the losses and logs of the latest update to the history; raise ``Diverged`` if one is not finite."""
        numbers = {name: float(value) for name, value in tensors.items()}
        wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
        if wrong:
            raise Diverged(f"{', '.join(wrong)} not finite at update {self.step} of {self.spec.training.updates}")
        rate = learning_rate(self.spec.training, self.step - 1)
        self.history.append({"step": self.step, "learning_rate": rate, **numbers})

    def save(self, folder: Path) -> None:
        """Write the checkpoint and the history to ``folder``, each completely or not at all."""
        write_checkpoint(folder, self._state())
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.history[-1]) if self.history else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(folder / HISTORY, text.getvalue())

    def _state(self) -> dict[str, Any]:
        return {
            "digest": self.spec.digest,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": {"noise": self.generator.get_state()},
            "device": self.generator.device.type,
            "history": self.history,
            "seconds": self.seconds,
        }

    def restore(self, folder: Path) -> None:
        """Continue from the newest usable checkpoint in ``folder``; if there is none, stay at the beginning."""
        begin = copy.deepcopy(self._state())
        device, updates = self.generator.device.type, self.spec.training.updates
        for path, state in checkpoints(folder, self.spec.digest, device, updates):
            try:
                self._load(state)
                return
            except Exception as error:  # readable, but not a state of this model, which may raise anything
                log.warning("%s cannot be used and is skipped: %s", path, " ".join(str(error).split()))
                self._load(begin)

    def _load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["device"] == self.generator.device.type:
            self.generator.set_state(state["generators"]["noise"])
        self.step, self.history, self.seconds = state["step"], state["history"], state["seconds"]
