"""What a grid will cost: how updates are measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from disentangle_bench.runner import plan


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([60.0] + [0.01] * 100, 0.01), ([60.0, 8.0, 8.0], 8.0), ([0.5, 0.4, 0.3, 0.2] + [0.1] * 100, 0.1)],
    ids=["cold imports", "slow updates", "warming up"],
)
def test_the_first_update_is_not_measured(monkeypatch, seconds, expected):
    """It imports, compiles and allocates: 45 hours were announced instead of 1.5."""
    clock, left = [0.0], iter(seconds)

    def update():
        clock[0] += next(left)

    monkeypatch.setattr(plan, "_synchronised", lambda device: clock[0])
    trainer = SimpleNamespace(generator=torch.Generator(), update=update)
    assert plan._update_seconds(trainer) == pytest.approx(expected)
