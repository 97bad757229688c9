"""The only training loop: step-based, resumable, the same for every model."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.atomic import atomic_path, write_text
from disentangle_bench.data.dataset import Card, Dataset
from disentangle_bench.models.model import Losses, Model, Noise
from disentangle_bench.models.networks import network
from disentangle_bench.registry import model_class
from disentangle_bench.spec import RunSpec, Training, seed_for
from disentangle_bench.training.batches import Stream, split_of
from disentangle_bench.training.precision import compiled, in_bfloat16, tf32

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
HISTORY = "history.csv"
HISTORY_ROWS = 100
CHECKPOINT_SECONDS = 60.0
FINISH_BATCH = 250


log = logging.getLogger(__name__)


class Diverged(RuntimeError):
    """The loss is no longer a finite number."""


class Interrupted(Exception):
    """Somebody asked the run to stop; its checkpoint is written."""


def discard_checkpoints(folder: Path) -> None:
    """Remove a run's checkpoints."""
    for name in (CHECKPOINT, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


def learning_rate(training: Training, step: int) -> float:
    """Half a cosine from ``learning_rate`` at step 0 to ``final_learning_rate`` at the last step, or at step
    ``half_cosine``, from where it climbs back.
    """
    progress = step / (training.half_cosine or max(1, training.updates - 1))
    span = training.learning_rate - training.final_learning_rate
    return training.final_learning_rate + 0.5 * span * (1 + math.cos(math.pi * progress))


def build_model(spec: RunSpec, card: Card, device: torch.device, *, n_train: int) -> Model:
    """A fresh model on ``device``. Its initial weights are a function of the seed: torch's global generator is seeded
    for the constructor only and put back as it was. Made on the CPU first, so that every device starts the same.
    """
    chosen = model_class(spec.model)
    config = chosen.Config.model_validate(spec.settings)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed_for(spec.seed, "weights"))
        make: Any = chosen  # the abstract class has no constructor of its own to check against
        built: Any = make(config, image_shape=card.image_shape, n_train=n_train, network=network(spec.training.network))
    model: Model = built.to(device=device, memory_format=torch.channels_last)
    return model


def build_optimizer(model: Model, training: Training) -> torch.optim.Optimizer:
    """One Adam for all players, weight decay decoupled; each group keeps its ``lr_scale`` for the schedule."""
    groups = [{"lr_scale": 1.0, "weight_decay": 0.0} | group for group in model.param_groups()]
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Bytes 0 .. 255 as numbers 0 .. 1."""
    return images.to(torch.float32).div_(255)


def evaluated(losses: Losses) -> dict[str, torch.Tensor]:
    """Each player's loss as a scalar, taken in their order."""
    return {player: loss if isinstance(loss, torch.Tensor) else loss() for player, loss in losses.items()}


def sum_of(losses: Losses) -> torch.Tensor:
    """The scalar whose gradient all players follow."""
    return torch.stack(list(evaluated(losses).values())).sum()


class Trainer:
    """One run's training: the model, its optimiser and generator, and where it stands.

    A new trainer stands where the newest readable checkpoint in its folder says, else at the beginning. ``compile``
    compiles the networks.
    """

    def __init__(
        self, spec: RunSpec, dataset: Dataset, folder: Path, device: torch.device, *, compile: bool = False
    ) -> None:
        self.spec = spec
        self.folder = folder
        train = split_of(spec, len(dataset)).train
        self.model = build_model(spec, dataset.card, device, n_train=len(train))
        self.optimizer = build_optimizer(self.model, spec.training)
        if spec.training.precision == "bf16":
            in_bfloat16(self.model, device)
        if compile:
            compiled(self.model)
        self.generator = torch.Generator(device).manual_seed(seed_for(spec.seed, "noise"))
        self.noise = Noise(self.generator)
        self.images = dataset.place(device)
        players = self.model.config.players
        self.clock = players if spec.training.clock == "optimiser_steps" else 1
        self.stream = Stream(train, spec.training.batch_size * players, spec.seed)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._restore()

    def update(self) -> dict[str, torch.Tensor]:
        """One update of every player, on the next images. Returns losses and logs by name, for the history."""
        with tf32(self.spec.training.precision == "tf32"):
            return self._update()

    def _update(self) -> dict[str, torch.Tensor]:
        rate = learning_rate(self.spec.training, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        x = to_float(self.images(self.stream.batch(self.step)))
        losses, logs = self.model.losses(x, self.clock * self.step, self.noise)
        in_turn = self.spec.training.steps == "in_turn"
        values: dict[str, torch.Tensor] = {}
        for turn in [{player: loss} for player, loss in losses.items()] if in_turn else [losses]:
            now = evaluated(turn)
            self.optimizer.zero_grad()
            sum_of(now).backward()
            self.optimizer.step()  # passes over parameters without a gradient: those of the other players
            values |= now
        self.step += 1
        return {f"loss.{player}": loss.detach() for player, loss in values.items()} | logs

    def run(
        self,
        progress: Callable[[int], None] = lambda step: None,
        should_stop: Callable[[], bool] = lambda: False,
        on_row: Callable[[dict[str, float]], None] = lambda row: None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> Model:
        """Train to the end. ``on_row`` is told of each new row of the history.

        Raises ``Diverged`` if the loss is not finite, and ``Interrupted``, after writing a checkpoint, if
        ``should_stop`` says so between two updates.
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
                self.save()
                raise Interrupted(f"stopped after update {self.step} of {updates}")
            if time.monotonic() - saved > checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.model.eval()
        with torch.no_grad():
            self.model.finish(self.training_images)
        self.save()
        return self.model

    def training_images(self, n: int) -> Iterator[torch.Tensor]:
        """The first n of the training images, or all where there are fewer, as numbers 0 .. 1, in batches."""
        chosen = self.stream.images[:n]
        for start in range(0, len(chosen), FINISH_BATCH):
            yield to_float(self.images(chosen[start : start + FINISH_BATCH]))

    def log(self, tensors: dict[str, torch.Tensor]) -> None:
        """Add a row to the history: the losses and logs of the update just made."""
        numbers = {name: float(value) for name, value in tensors.items()}
        wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
        if wrong:
            raise Diverged(f"{', '.join(wrong)} not finite at update {self.step} of {self.spec.training.updates}")
        rate = learning_rate(self.spec.training, self.step - 1)
        self.history.append({"step": self.step, "learning_rate": rate, **numbers})

    def save(self) -> None:
        """Write the checkpoint and the history, each whole or not at all."""
        state = {
            "digest": self.spec.digest,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": {"noise": self.generator.get_state()},
            "device": self.generator.device.type,
            "history": self.history,
            "seconds": self.seconds,
        }
        current = self.folder / CHECKPOINT
        # Through memory: torch's own writer reports a full disk as an error that nobody can tell from others.
        content = io.BytesIO()
        torch.save(state, content)
        with atomic_path(current) as temporary:
            temporary.write_bytes(content.getbuffer())
            # Killed between the two renames, a run finds the previous generation alone, which does as well.
            if current.exists():
                current.replace(self.folder / PREVIOUS)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.history[-1]) if self.history else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.folder / HISTORY, text.getvalue())

    def _restore(self) -> None:
        """Take up the newest checkpoint in the folder that can be read, if there is one.

        A damaged or foreign one is passed over with a warning: training from further back gives the same numbers.
        """
        for path in (self.folder / CHECKPOINT, self.folder / PREVIOUS):
            if not path.exists():
                continue
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # what a damaged file raises depends on the damage
                log.warning("%s cannot be read and is passed over: %s", path, error)
                continue
            if state["digest"] != self.spec.digest:
                log.warning("%s belongs to another run and is passed over", path)
                continue
            # The state of a generator means something on its own kind of device only.
            if state.get("device") != self.generator.device.type:
                log.warning("%s was made on another kind of device and is passed over", path)
                continue
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generators"]["noise"])
            self.step, self.history, self.seconds = state["step"], state["history"], state["seconds"]
            return
