"""Protocols: named, versioned sets of choices that make runs comparable. No torch here.

A change of numbers bumps the version and has a line in the CHANGELOG. Common to all but ``factorqvae2024``: one fixed
split of each dataset (80 % training, 10 % validation, 10 % test), the same for all seeds and models; scores on test
images only; posterior means. Common to all: the model of the last update, never the best checkpoint. The pages in
docs/protocols give the reasons.
"""

from __future__ import annotations

from pydantic import Field

from disentangle_bench.errors import unknown
from disentangle_bench.spec import Part, Scoring, Training


class Protocol(Part):
    """A named, versioned set of choices. ``ranked`` says whether models may be ranked by its numbers.

    A baseline's settings may differ by protocol: see ``baselines.Baseline``. Settings that work once per update (weight
    decay, the fall of a temperature, the length of a warm-up) are meant for a run of ``dose_updates`` updates; where
    the protocol has another number, they are scaled so that the whole run gets the same dose. 0 leaves them as they
    are.
    """

    name: str
    version: int
    summary: str
    ranked: bool
    training: Training
    scoring: Scoring
    dose_updates: int = Field(default=0, ge=0)

    @property
    def dose_factor(self) -> float:
        """The number by which rates per update are multiplied, and durations in updates divided."""
        return self.dose_updates / self.training.updates if self.dose_updates else 1.0

    def training_of(self, players: int) -> Training:
        """How a model with so many players is trained: where the clock counts the steps of all optimisers, so does
        the protocol's number of updates, and a model with a discriminator gets half as many.
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
            dose_updates=0,  # so few updates can hold no dose
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


def protocol(name: str) -> Protocol:
    """The protocol called ``name``."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
