"""From names to specs: protocols, changes, identity."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from disentangle_bench.config.grids import expand, parse_seeds
from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, MODELS, Registry
from disentangle_bench.spec import RunSpec, flat


@pytest.mark.parametrize("model", MODELS.entries)
def test_every_value_has_a_source(model):
    resolved = resolve(model, "rooms3d", "cpu", 0)
    assert set(resolved.sources) == set(resolved.values) >= set(flat(resolved.spec))


def test_digest_is_a_function_of_the_values():
    spec = resolve("factor_qvae", "rooms3d", "cpu", 0).spec
    assert RunSpec.model_validate_json(spec.model_dump_json()).digest == spec.digest
    assert resolve("factor_qvae", "rooms3d", "cpu", 0, ["model.symbols=64"]).spec.digest == spec.digest
    others = [
        resolve("factor_qvae", "rooms3d", "cpu", 1).spec,
        resolve("factor_qvae", "rooms3d", "quick", 0).spec,
        resolve("factor_qvae", "shapes3d", "cpu", 0).spec,
        resolve("factor_qvae", "rooms3d", "cpu", 0, ["model.symbols=63"]).spec,
    ]
    assert len({spec.digest, *(other.digest for other in others)}) == 5


def test_digest_is_the_same_in_another_process():
    """Python's own hashes differ from process to process; identities must not."""
    spec = resolve("qlae", "rooms3d", "smoke", 0).spec
    code = (
        "from disentangle_bench.config.resolve import resolve as r; print(r('qlae', 'rooms3d', 'smoke', 0).spec.run_id)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == spec.run_id


def test_canonical_json_does_not_depend_on_the_order_of_settings():
    spec = resolve("qlae", "rooms3d", "smoke", 0).spec
    backwards = spec.model_copy(update={"settings": dict(reversed(spec.settings.items()))})
    assert list(backwards.settings) != list(spec.settings)
    assert backwards.digest == spec.digest


def test_changes_are_typed_and_marked():
    spec = resolve("factor_vae", "rooms3d", "cpu", 0, ["model.gamma=1e-3", "scoring.metrics.dci=tripod2024"]).spec
    assert spec.settings["gamma"] == 1e-3
    assert spec.scoring.metrics["dci"] == "tripod2024"
    assert spec.changed == ("model.gamma=0.001", "scoring.metrics.dci=tripod2024")


def test_specs_are_frozen():
    spec = resolve("qlae", "rooms3d", "smoke", 0).spec
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 1


@pytest.mark.parametrize(
    ("option", "seeds"),
    [
        ("5", [0, 1, 2, 3, 4]),
        ("1", [0]),
        ("3-5", [3, 4, 5]),
        ("7-7", [7]),
        ("0,3,9", [0, 3, 9]),
        ("0-2,2,8", [0, 1, 2, 8]),
        ("=3", [3]),
        ("3,", [3]),
        (" 1, 4", [1, 4]),
    ],
)
def test_seeds(option, seeds):
    assert parse_seeds(option) == seeds


@pytest.mark.parametrize(
    "option",
    ["", "0", "-3", "1.5", "a", "3-", "5-2", "1,,2", "1;2", "0x5", "=", ",", "=3,4", "5" * 5000, "1-" + "5" * 5000],
)
def test_bad_seeds(option):
    with pytest.raises(BenchError, match="is not understood: give how many") as error:
        parse_seeds(option)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("option", ["1000000000000", "0-1000000000000", "100001"])
def test_too_many_seeds_are_refused_before_they_are_listed(option):
    with pytest.raises(BenchError, match=r"runs, and a grid has at most 100,000: give fewer values"):
        parse_seeds(option)


DEEP = "[" * 3000


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.learning_rate=inf", "training.learning_rate = inf is not allowed: input should be a finite number"),
        ("training.learning_rate=nan", "training.learning_rate = nan is not allowed"),
        ("model.weight_decay=inf", "weight_decay = inf is not allowed"),
        ("training.updates=1e400", "training.updates = inf is not allowed"),
        (f"model.symbols={DEEP}", "symbols = .* is not allowed"),
        (f"model.symbols={DEEP}{DEEP.replace('[', ']')}", "symbols = .* is not allowed"),
        (f"model.symbols={'9' * 5000}", "symbols = .* is not allowed"),
        (f"training.network={DEEP}", "unknown network '"),
        (f"{DEEP}=3", "unknown setting '"),
    ],
)
def test_extreme_values_are_refused_in_one_line(word, message):
    with pytest.raises(BenchError, match=message) as error:
        resolve("qlae", "rooms3d", "smoke", 0, [word])
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("training.lr", "training.learning_rate"),
        ("lr", "training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("model.wd", "model.weight_decay"),
        ("model.symbol", "model.symbols"),
        ("training.batchsize", "training.batch_size"),
    ],
)
def test_a_mistaken_key_suggests_the_one_that_is_meant(key, suggestion):
    with pytest.raises(
        BenchError, match=f"Did you mean '{suggestion}'.* Allowed: {suggestion}, .* and [0-9]+ more"
    ) as error:
        resolve("qlae", "rooms3d", "smoke", 0, [f"{key}=1"])
    assert str(error.value).count(",") == 9, "ten names, nearest first"


def test_a_grid_has_whole_comparisons_first():
    specs = expand("all", "rooms3d", "2", "smoke")
    assert [spec.seed for spec in specs] == [0] * 6 + [1] * 6
    assert [spec.model for spec in specs[:6]] == [spec.model for spec in specs[6:]] == MODELS.names("all")


def test_protocols_are_fair():
    """One schedule, one sample and one set of metrics for every model: nothing in a protocol names a model."""
    for protocol in PROTOCOLS.values():
        words = set(re.findall(r"\w+", json.dumps(protocol.model_dump())))
        assert words.isdisjoint(MODELS.entries)


def test_names_and_groups():
    assert MODELS.names("qlae, beta_vae,qlae") == ["qlae", "beta_vae"]
    main_models = ["beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"]
    assert MODELS.names("all") == main_models
    extended_models = MODELS.names("extended")
    assert len(extended_models) == 12
    assert {"ae", "dip_vae_ii", "factor_dvae"} <= set(extended_models)
    assert MODELS.names("all,extended") == main_models + extended_models
    assert "rooms3d" in DATASETS.names("rooms3d")


def test_a_name_taken_twice_is_an_error(monkeypatch):
    class Point:
        name, value = "qlae", "other.package:QLAE"

    monkeypatch.setattr("disentangle_bench.names.entry_points", lambda group: [Point()])
    with pytest.raises(BenchError, match=r"a name that .* has already"):
        _ = Registry("model", "disentangle_bench.models", tuple(MODELS.entries.values())).entries
