"""What a grid will cost: how updates are measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from disentangle_bench.config.grids import expand
from disentangle_bench.config.search import Search
from disentangle_bench.runner import plan
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import estimate


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([60.0] + [0.01] * 100, 0.01), ([60.0, 8.0, 8.0], 8.0), ([0.5, 0.4, 0.3, 0.2] + [0.1] * 100, 0.1)],
    ids=["cold imports", "slow updates", "warming up"],
)
def test_the_first_update_is_not_measured(monkeypatch, seconds, expected):
    """It imports, compiles and allocates: 45 hours were announced instead of 1.5."""
    clock, durations = [0.0], iter(seconds)

    def update():
        clock[0] += next(durations)

    monkeypatch.setattr(plan, "_synchronised", lambda device: clock[0])
    trainer = SimpleNamespace(generator=torch.Generator(), update=update)
    assert plan._update_seconds(trainer) == pytest.approx(expected)


def test_a_plan_needs_no_download(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "_metric_seconds", lambda spec, dataset: 1.0)
    specs = expand("ae", "shapes3d", "2", "smoke", search=Search(3))
    (cost,) = estimate(specs, Resources(devices="cpu", data=tmp_path)).costs  # the points of a search are of one kind
    assert (cost.dataset, cost.runs) == ("shapes3d", 6)
    assert cost.training_seconds > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("share", "pays"), [(0.5, True), (1.4, False), (None, False)])
def test_a_plan_says_when_bfloat16_pays(monkeypatch, tmp_path, share, pays):
    monkeypatch.setattr(plan, "_metric_seconds", lambda spec, dataset: 1.0)
    monkeypatch.setattr(plan, "cpu_computes_bfloat16", lambda: share is not None)
    trainer_of, trainers = plan._measured, []

    def measured(spec, *rest):
        trainers[:] = trainers or [trainer_of(spec, *rest)[0]]  # where it is emulated, an update takes seconds
        return trainers[0], share if spec.training.precision == "bf16" else 1.0

    monkeypatch.setattr(plan, "_measured", measured)
    result = estimate(expand("ae", "shapes3d", "2", "smoke", []), Resources(devices="cpu", data=tmp_path))
    assert result.as_json()["bf16"] == share
    assert ("--precision bf16 would take 50%" in str(result.table().caption)) == pays
    if not pays:
        assert "bf16" not in str(result.table().caption)
