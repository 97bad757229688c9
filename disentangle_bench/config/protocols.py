"""Protocols: named, versioned sets of choices that make runs comparable. No torch here.

A change of numbers bumps the version and has a line in the CHANGELOG. All protocols but those named after papers have
in common: one fixed split of each dataset (80 % training, 10 % validation, 10 % test), the same for all seeds and
models; scores on test images only; posterior means. All protocols score the model of the last update, never the best
checkpoint. The pages in docs/protocols give the reasons.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from disentangle_bench.atomic import write_text
from disentangle_bench.data.correlation import NAMES
from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.spec import Data, Part, RunSpec, Scoring, Training, Whole, as_before, digest_of, first_problem

ENTRY_POINTS = "disentangle_bench.protocols"

_TEXTS: dict[str, str] = {}
"""Texts of the protocol files that this process has read, by the protocol's label."""


class Protocol(Part):
    """A named, versioned set of choices. ``ranked`` says whether models may be ranked by its numbers.

    ``data`` says which images are trained on, and how often.

    A baseline's settings may differ by protocol: see ``baselines.Baseline``. Settings that take effect per update
    (weight decay, the fall of a temperature, the length of a warm-up) are meant for a run of ``dose_updates`` updates;
    if the protocol has another number, they are scaled so that the whole run gets the same dose. If ``dose_updates`` is
    0, they are not scaled.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")
    version: Whole = 1
    summary: str = ""
    ranked: bool = False
    training: Training
    scoring: Scoring
    dose_updates: int = Field(default=0, ge=0)
    data: Data = Data()

    LATER = frozenset({"data"})

    @property
    def label(self) -> str:
        """Name in specs and records. It contains the digest for a protocol that is not built in, because two files
        may have the same name.
        """
        if built_in(self.name) == self:
            return self.name
        return f"{self.name}@{digest_of(self.model_dump(mode='json', exclude=as_before(self)))[:10]}"

    @property
    def dose_factor(self) -> float:
        """Return the factor that multiplies rates per update and divides durations in updates."""
        return self.dose_updates / self.training.updates if self.dose_updates else 1.0

    def training_of(self, players: int) -> Training:
        """Return the training of a model with ``players`` players.

        If the clock counts the steps of all optimisers, so does the protocol's number of updates, and a model with a
        discriminator gets half as many.
        """
        if self.training.clock == "updates":
            return self.training
        return self.training.model_copy(update={"updates": self.training.updates // players})


STANDARD_UPDATES = 100_000
"""Updates of the protocol ``standard``, for which rates per update are meant."""

_METRICS = {"dci": "locatello2019", "infomec": "heldout2026", "mse": "heldout", "latents": "hsu2023"}

_RATES: dict[str, Any] = {"learning_rate": 1e-3, "final_learning_rate": 1.25e-6}
_SIZES = {
    # name: summary, network, updates, batch size, images for training and test of metrics, ranked
    "smoke": ("20 updates of 16 images: seconds; for tests, never ranked", "conv64", 20, 16, 400, 200, False),
    "quick": (
        "1,000 updates of 16 images on conv64: minutes on a laptop; a first look, never ranked",
        *("conv64", 1_000, 16, 2_000, 1_000, False),
    ),
    "cpu": (
        "10,000 updates of 64 images on conv64: what a laptop can run overnight; a table of its own",
        *("conv64", 10_000, 64, 10_000, 5_000, True),
    ),
    "standard": (
        "100,000 updates of 256 images on the FactorQVAE paper's residual network: the leaderboard",
        *("residual", STANDARD_UPDATES, 256, 10_000, 5_000, True),
    ),
}
"""Protocols that differ only in their size, their network and their dose."""

_DOSES = {"smoke": 0, "quick": 10_000}
"""Doses of protocols with too few updates for a whole one. ``quick`` has the settings of ``cpu``: with all of the
standard's decay QLAE would draw nothing but grey.
"""


_RELEASED = {
    # name: paper, network, updates, batch size, learning rate, variants of dci, infomec and latents
    "hsu2023": ("2023 (QLAE)", "style", 200_000, 128, 1e-3, "locatello2019", "hsu2023_training", "hsu2023_training"),
    "tripod2024": ("2024 (Tripod)", "adain", 250_000, 64, 2e-4, "tripod2024", "tripod2024", "tripod2024"),
}
"""Protocols of Hsu et al., whose two releases have everything else in common."""

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        *(
            Protocol(
                name=name,
                version=2,
                summary=summary,
                ranked=ranked,
                dose_updates=_DOSES.get(name, STANDARD_UPDATES),
                training=Training(network=network, updates=updates, batch_size=batch_size, **_RATES),
                scoring=Scoring(train_images=train, test_images=test, metrics=_METRICS),
            )
            for name, (summary, network, updates, batch_size, train, test, ranked) in _SIZES.items()
        ),
        *(
            Protocol(
                name=name,
                summary=f"what the released code of Hsu et al. {paper} does: to compare with its paper",
                training=Training(
                    network=network,
                    updates=updates,
                    batch_size=batch_size,
                    learning_rate=rate,
                    final_learning_rate=rate,
                    split="none",
                    reconstruction="bce",
                    gradient_clip=1.0,
                ),
                scoring=Scoring(
                    train_images=10_000,
                    test_images=5_000,
                    images="all",
                    metrics={"dci": dci, "infomec": infomec, "mse": "factorqvae2024", "latents": latents},
                ),
            )
            for name, (paper, network, updates, batch_size, rate, dci, infomec, latents) in _RELEASED.items()
        ),
        Protocol(
            name="factorqvae2024",
            summary="what the released code of Baykal et al. 2024 does, fair or not: to compare with its paper",
            training=Training(
                network="residual",
                updates=100_000,
                batch_size=256,
                **_RATES,
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


CORRELATED = "-correlated-"
"""Text between the names of a ranked protocol and of a set of correlated factors in a family's protocol name."""


def built_in(name: str) -> Protocol | None:
    """Return the built-in protocol called ``name``, if there is one.

    ``standard-correlated-single_1`` is ``standard`` with ``data.correlation=single_1``, and so on for every ranked
    protocol and every named set. Each set has a table of its own.
    """
    base, between, correlation = name.partition(CORRELATED)
    rules = PROTOCOLS.get(base)
    if not between:
        return rules
    if rules is None or base not in families() or correlation not in NAMES:
        return None
    summary = f"{base} on training images whose factors are correlated ({correlation}); ranked within itself"
    changes = {"name": name, "summary": summary, "data": Data(correlation=correlation)}
    return rules.model_copy(update=changes)


def families() -> list[str]:
    """Return the names of the protocols that have a protocol for each set of correlated factors."""
    return [name for name, rules in PROTOCOLS.items() if rules.ranked]


def listed_protocols() -> list[tuple[str, int, str]]:
    """Return name, version and summary of every protocol, and of each family in one row, which names its sets."""
    rows = [(rules.name, rules.version, rules.summary) for rules in protocols().values()]
    for base in families():
        summary = f"{base} on correlated factors, ranked within each SET: {', '.join(NAMES)}"
        rows.append((f"{base}{CORRELATED}SET", PROTOCOLS[base].version, summary))
    return rows


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
    """Return the protocol called ``name``, or the one in the TOML file at the path ``name``.

    Raises ``BenchError`` for an unknown name and for a file that is not a protocol.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    known = built_in(name)
    if known is not None:
        return known
    table = protocols()
    if name not in table:
        correlated = [f"{base}{CORRELATED}{correlation}" for base in families() for correlation in NAMES]
        raise unknown("protocol", name, [*table, *(correlated if CORRELATED[:4] in name else [])])
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
    if built_in(read.name):
        raise BenchError(f"--protocol {str(path)!r} has the name of a built-in protocol, {read.name!r}: choose another")
    _TEXTS[read.label] = text
    return read


def keep(label: str, folder: Path) -> None:
    """Copy the file of the protocol with this label to ``folder``, if this process has read it."""
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
    own = built_in(spec.protocol)
    return not spec.changed and (own.ranked if own else spec.protocol_ranked)
