"""Training gives the losses that it gave before: see support/golden_losses.py."""

from __future__ import annotations

import json

import pytest

from disentangle_bench.registry import model_class
from support import golden_losses

GOLDEN = json.loads(golden_losses.FILE.read_text())

ADVICE = (
    "if this change is meant, bump the version of the model (or of the protocol), say so under Numbers in the "
    "CHANGELOG, and run python tests/support/golden_losses.py --write"
)

CLOSE = {"conv64": 1e-3, "residual": 5e-3, "adain": 5e-3}
"""What other processors keep to: single precision rounds each sum to 6e-8 of it, in an order of the processor's own.
Convolutions by other code, or first weights off by 3e-7 of themselves, use up less than a third of this."""


def test_every_built_in_model_has_golden_losses():
    assert sorted(GOLDEN) == sorted(golden_losses.NAMES), ADVICE


QUICK = "factor_qvae", "beta_tcvae"
"""Models that the default tests train on other networks than conv64 too, which takes seconds."""


def _slow(name, network):
    return [pytest.mark.thorough] if network != "conv64" and name not in QUICK else []


@pytest.mark.parametrize(("name", "network"), [pytest.param(*case, marks=_slow(*case)) for case in golden_losses.CASES])
def test_losses_are_what_they_were(name, network):
    golden = GOLDEN[name]
    assert golden["version"] == model_class(name).version, (
        f"{name} has another version than its golden losses: {ADVICE}"
    )
    losses = golden_losses.losses(name, network)
    assert losses.keys() == golden[network].keys(), f"{name} logs other things than it did: {ADVICE}"
    for key, values in golden[network].items():
        steps = [step + 1 for step in golden_losses.STEPS]
        message = f"{name} on {network}: {key} at updates {steps} is not what it was: {ADVICE}"
        assert losses[key] == pytest.approx(values, rel=CLOSE[network], abs=1e-6), message
