"""Protocols: named, versioned sets of choices that make runs comparable. No torch here.

A change of numbers bumps the version and has a line in the CHANGELOG. Common to all but ``factorqvae2024``: one fixed
split of each dataset (80 % training, 10 % validation, 10 % test), the same for all seeds and models; scores on test
images only; posterior means. Common to all: the model of the last update, never the best checkpoint. The pages in
docs/protocols give the reasons.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import Field, ValidationError

from disentangle_bench.atomic import write_text
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.spec import Part, RunSpec, Scoring, Training, Whole, first_problem

ENTRY_POINTS = "disentangle_bench.protocols"

_TEXTS: dict[str, str] = {}
"""Texts of the protocol files that this process has read, by the protocol's label."""


class Protocol(Part):
    """A named, versioned set of choices. ``ranked`` says whether models may be ranked by its numbers.

    A baseline's settings may differ by protocol: see ``baselines.Baseline``. Settings that work once per update (weight
    decay, the fall of a temperature, the length of a warm-up) are meant for a run of ``dose_updates`` updates; where
    the protocol has another number, they are scaled so that the whole run gets the same dose. 0 leaves them as they
    are.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")
    version: Whole = 1
    summary: str = ""
    ranked: bool = False
    training: Training
    scoring: Scoring
    dose_updates: int = Field(default=0, ge=0)

    @property
    def label(self) -> str:
        """Name in specs and records. It contains the digest for a protocol that is not built in, because two files
        may have the same name.
        """
        if PROTOCOLS.get(self.name) == self:
            return self.name
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return f"{self.name}@{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def dose_factor(self) -> float:
        """Return the factor that multiplies rates per update and divides durations in updates."""
        return self.dose_updates / self.training.updates if self.dose_updates else 1.0

    def training_of(self, players: int) -> Training:
        """Return the training of a model with ``players`` players. Where the clock counts the steps of all optimisers,
        so does the protocol's number of updates, and a model with a discriminator gets half as many.
        """
        if self.training.clock == "updates":
            return self.training
        return self.training.model_copy(update={"updates": self.training.updates // players})


STANDARD_UPDATES = 100_000
"""Updates of the protocol ``standard``, for which rates per update are meant."""

_METRICS = {"dci": "locatello2019", "infomec": "heldout2026", "mse": "heldout", "latents": "hsu2023"}


def _protocol(
    name: str,
    summary: str,
    *,
    network: str,
    updates: int,
    batch_size: int,
    images: tuple[int, int],
    ranked: bool,
    dose_updates: int = STANDARD_UPDATES,
) -> Protocol:
    return Protocol(
        name=name,
        version=2,
        summary=summary,
        ranked=ranked,
        dose_updates=dose_updates,
        training=Training(
            network=network,
            updates=updates,
            batch_size=batch_size,
            learning_rate=1e-3,
            final_learning_rate=1.25e-6,
        ),
        scoring=Scoring(train_images=images[0], test_images=images[1], metrics=_METRICS),
    )


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        _protocol(
            "smoke",
            "20 updates of 16 images: seconds; for tests, never ranked",
            network="conv64",
            updates=20,
            batch_size=16,
            images=(400, 200),
            ranked=False,
            dose_updates=0,  # too few updates for any dose
        ),
        _protocol(
            "quick",
            "1,000 updates of 32 images on conv64: minutes on a laptop; a first look, never ranked",
            network="conv64",
            updates=1_000,
            batch_size=32,
            images=(4_000, 2_000),
            ranked=False,
        ),
        _protocol(
            "cpu",
            "10,000 updates of 64 images on conv64: what a laptop can run overnight; a table of its own",
            network="conv64",
            updates=10_000,
            batch_size=64,
            images=(10_000, 5_000),
            ranked=True,
        ),
        _protocol(
            "standard",
            "100,000 updates of 256 images on the FactorQVAE paper's residual network: the leaderboard",
            network="residual",
            updates=STANDARD_UPDATES,
            batch_size=256,
            images=(10_000, 5_000),
            ranked=True,
        ),
        Protocol(
            name="factorqvae2024",
            version=1,
            summary="what the released code of Baykal et al. 2024 does, fair or not: to compare with its paper",
            ranked=False,
            training=Training(
                network="residual",
                updates=100_000,
                batch_size=256,
                learning_rate=1e-3,
                final_learning_rate=1.25e-6,
                half_cosine=50_000,
                clock="optimiser_steps",
                steps="in_turn",
                split="seed",
            ),
            scoring=Scoring(
                train_images=10_000,
                test_images=5_000,
                images="all",
                codes="sample",
                metrics={
                    "dci": "factorqvae2024",
                    "infomec": "factorqvae2024",
                    "mse": "factorqvae2024",
                    "latents": "hsu2023",
                },
            ),
        ),
    )
}


def protocols() -> dict[str, Protocol]:
    """Return all protocols by name: those built in, and those of plug-ins.

    A plug-in adds one through the entry-point group ``disentangle_bench.protocols``: the entry's value is
    ``module:PROTOCOL``, a ``Protocol``.
    """
    table = dict(PROTOCOLS)
    for point in entry_points(group=ENTRY_POINTS):
        try:
            loaded = point.load()
        except Exception as error:
            raise BenchError(f"the protocol {point.name!r} ({point.value}) cannot be imported: {error}") from error
        if not isinstance(loaded, Protocol) or loaded.name != point.name:
            raise BenchError(f"the plug-in {point.value} must give a Protocol with the name {point.name!r}")
        if point.name in table:
            raise BenchError(f"the plug-in {point.value} gives a protocol {point.name!r}, a name that is taken")
        table[point.name] = loaded
    return table


def protocol(name: str) -> Protocol:
    """Return the protocol called ``name``, or the one in the TOML file whose path ``name`` is.

    Raises ``BenchError`` for an unknown name and for a file that is no protocol.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    table = PROTOCOLS if name in PROTOCOLS else protocols()
    if name not in table:
        raise unknown("protocol", name, table)
    return table[name]


def _read(path: Path) -> Protocol:
    try:
        text = path.read_text(encoding="utf-8")
        read = Protocol.model_validate(tomllib.loads(text))
    except OSError as error:
        raise BenchError(f"--protocol {str(path)!r} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BenchError(f"--protocol {str(path)!r}: {first_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"--protocol {str(path)!r} is not valid TOML: {error}") from error
    if read.name in PROTOCOLS:
        raise BenchError(f"--protocol {str(path)!r} has the name of a built-in protocol, {read.name!r}: choose another")
    _TEXTS[read.label] = text
    return read


def keep(label: str, folder: Path) -> None:
    """Write a copy of the protocol file that has this label to ``folder``, if it is one that this process has read."""
    if label in _TEXTS and not (path := kept_path(label, folder)).exists():
        write_text(path, _TEXTS[label])


def kept_path(label: str, folder: Path) -> Path:
    """Return the path of the copy that ``keep`` makes."""
    return folder / f"{label}.toml"


def option(label: str, folder: Path) -> str:
    """Return what ``--protocol`` takes for a protocol with this label: its name, or the copy of its file."""
    name, at, _ = label.partition("@")
    return str(kept_path(label, folder)) if at and name not in protocols() else name


def is_ranked(spec: RunSpec) -> bool:
    """Return whether models may be ranked by the record of ``spec``."""
    own = PROTOCOLS.get(spec.protocol)
    return not spec.changed and (own.ranked if own else spec.protocol_ranked)
