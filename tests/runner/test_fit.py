"""How many runs at a time an accelerator takes."""

from __future__ import annotations

import io
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from disentangle_bench.config.grids import expand
from disentangle_bench.errors import BenchError
from disentangle_bench.runner import fit
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import run_grid


@pytest.mark.parametrize(
    ("speeds", "number"),
    [({}, 1), ({1: 100.0}, 1), ({1: 100.0, 2: 105.0}, 1), ({1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0}, 4)],
)
def test_the_number_is_doubled_as_long_as_it_pays(speeds, number):
    assert fit.best(speeds) == number


@pytest.fixture
def specs():
    return expand("ae,factor_vae", "rooms3d", "1", "smoke", [])


@pytest.mark.parametrize(
    ("free", "cores", "saturated", "number"), [(99.0, 16, 4, 4), (99.0, 2, 8, 2), (2.5, 16, 8, 2), (0.0, 16, 8, 1)]
)
def test_memory_cores_and_speed_bound_the_number(monkeypatch, specs, free, cores, saturated, number):
    """A device on which up to ``saturated`` processes add up, with room for runs of one byte."""
    probes = []

    class Probe:
        def __init__(self):
            self.asked = False

        def send(self, seconds):
            self.asked = True
            probes.append(self)

        def __iter__(self):
            if not self.asked:
                yield [1.0, free]
                return
            count = len(probes)
            self.asked = False
            if not any(probe.asked for probe in probes):
                probes.clear()
            yield [min(count, saturated) / count]

    def start(target, argument):
        assert argument["spec"]["model"] == "factor_vae"  # two players: the larger kind
        return nullcontext(Probe())

    monkeypatch.setattr(fit, "Process", start)
    monkeypatch.setattr(fit, "available", lambda: cores)
    monkeypatch.setattr(Resources, "slots", lambda self: ("cuda:0",))
    assert fit.runs_per_device(specs, Resources(runs_per_device="auto")) == number


def test_a_cpu_has_cores_instead(specs):
    assert fit.runs_per_device(specs, Resources(devices="cpu", runs_per_device="auto")) == 1


def test_a_probe_trains_as_long_as_it_is_asked(monkeypatch, specs):
    answers = []
    resources = Resources(devices="cpu").model_dump(mode="json")
    monkeypatch.setattr(fit.sys, "stdin", io.StringIO("0.01\n0.01\n"))
    fit.probe({"spec": specs[0].model_dump(mode="json"), "resources": resources}, SimpleNamespace(send=answers.append))
    (memory, _), *speeds = answers
    assert memory > 0
    assert len(speeds) == 2
    assert all(speed > 0 for (speed,) in speeds)


@pytest.mark.parametrize("change", ["training.batch_size=1000000000", "model.latents=1000000000"])
def test_what_no_memory_holds_is_refused_before_anything_is_allocated(tmp_path, change):
    specs = expand("ae", "rooms3d", "1", "smoke", [change])
    with pytest.raises(BenchError, match=r"needs more than [0-9,]+ GB, and this machine has [0-9,]+ GB"):
        run_grid(specs, tmp_path / "out", Resources(devices="cpu"))
    assert not (tmp_path / "out").exists()


def test_an_ordinary_grid_fits(specs):
    fit.check_memory(specs)
