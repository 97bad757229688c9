"""A protocol with fewer updates than settings are meant for gives the same dose in the whole run."""

from __future__ import annotations

import math

import pytest

from disentangle_bench.config.protocols import protocol
from disentangle_bench.config.resolve import resolve
from disentangle_bench.registry import MODELS

DECAYED = ["qlae", "vq_vae", "ae_ica", "bio_ae"]


@pytest.mark.parametrize("model", DECAYED)
def test_the_whole_run_decays_weights_as_much_as_standard(model):
    """Decoupled decay takes weight_decay * learning rate off a weight per update, and the rates' curves are alike."""
    cpu, standard = (resolve(model, "rooms3d", protocol, 0).spec for protocol in ("cpu", "standard"))
    assert cpu.training.learning_rate == standard.training.learning_rate
    doses = [spec.settings["weight_decay"] * spec.training.updates for spec in (cpu, standard)]
    assert doses[0] == pytest.approx(doses[1])
    assert doses[0] > 0


@pytest.mark.parametrize("model", ["factor_qvae", "q_vae", "dvae", "factor_dvae"])
def test_temperatures_fall_as_far_as_in_standard(model):
    for name in ("cpu", "standard"):
        spec = resolve(model, "rooms3d", name, 0).spec
        assert math.exp(-spec.settings["temperature_decay"] * spec.training.updates) == pytest.approx(math.exp(-1))


def test_warm_ups_take_the_same_share_of_the_run():
    shares = {
        name: resolve("annealed_vae", "rooms3d", name, 0).spec.settings["capacity_steps"]
        / protocol(name).training.updates
        for name in ("cpu", "standard")
    }
    assert set(shares.values()) == {1.0}


@pytest.mark.parametrize("model", MODELS.names("every"))
def test_quick_has_the_settings_of_cpu(model):
    """Its 1,000 updates cannot hold the whole dose: decay would keep QLAE's weights near zero."""
    quick, cpu = (resolve(model, "rooms3d", name, 0).spec.settings for name in ("quick", "cpu"))
    assert quick == cpu


def test_the_source_says_what_was_scaled_and_a_users_value_is_taken_as_it_is():
    resolved = resolve("qlae", "rooms3d", "cpu", 0)
    assert "0.1 there, here the dose of 100,000 updates" in resolved.sources["model.weight_decay"]
    assert resolve("qlae", "rooms3d", "cpu", 0, ["model.weight_decay=0.2"]).spec.settings["weight_decay"] == 0.2


@pytest.mark.parametrize("name", ["smoke", "standard", "factorqvae2024"])
def test_other_protocols_take_settings_as_they_are(name):
    for model in MODELS.names("all"):
        assert not any("the dose of" in source for source in resolve(model, "rooms3d", name, 0).sources.values())
