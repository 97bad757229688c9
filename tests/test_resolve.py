"""From names to specs: baselines, protocols, changes, identity."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from disentangle_bench import baselines
from disentangle_bench.errors import BenchError
from disentangle_bench.protocols import PROTOCOLS
from disentangle_bench.registry import DATASETS, MODELS, Registry, model_class
from disentangle_bench.resolve import resolve
from disentangle_bench.run import expand, parse_seeds
from disentangle_bench.spec import RunSpec, flat

FILES = sorted(baselines.folder().glob("*/*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_baseline_file_resolves(path):
    baseline = baselines.parse(path)
    resolved = resolve(path.parent.name, path.stem, "cpu", 0)
    for key, value in baseline.settings.items():
        assert resolved.spec.settings[key] == value
        assert path.name in resolved.sources[f"model.{key}"]


def test_the_six_models_have_baselines_on_the_shipped_datasets():
    expected = {(model, dataset) for model in MODELS.names("all") for dataset in ("rooms3d", "shapes3d")}
    assert expected <= {(path.parent.name, path.stem) for path in FILES}


@pytest.mark.parametrize("model", MODELS.names("all"))
def test_every_value_has_a_source(model):
    resolved = resolve(model, "rooms3d", "cpu", 0)
    assert set(resolved.sources) == set(flat(resolved.spec))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[settings]\nlatents = 3", "'source' is missing"),
        ("[source]\nkind = 'heard'\nreference = 'x'", "source.kind = 'heard' is not allowed"),
        ("[source]\nkind = 'ours'\nreference = 'x'\n[setings]\na = 1", "there is no setting 'setings'"),
        ("[source\n", "is not valid TOML"),
    ],
)
def test_bad_baseline_files_are_named(tmp_path, text, message):
    path = tmp_path / "rooms3d.toml"
    path.write_text(text)
    with pytest.raises(BenchError, match=message) as caught:
        baselines.parse(path)
    assert str(path) in str(caught.value)


def test_an_unknown_key_in_a_baseline_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "beta_vae").mkdir()
    source = "[source]\nkind = 'ours'\nreference = 'x'\n"
    (tmp_path / "beta_vae" / "rooms3d.toml").write_text(source + "[settings]\nbeta = 4")
    monkeypatch.setattr(baselines, "folder", lambda: tmp_path)
    with pytest.raises(
        BenchError, match=r"settings of beta_vae: there is no setting 'beta'. Allowed: latents, kl_weight"
    ):
        resolve("beta_vae", "rooms3d", "smoke", 0)


def test_without_a_baseline_latents_are_twice_the_factors(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "folder", lambda: tmp_path)
    resolved = resolve("qlae", "rooms3d", "smoke", 0)
    assert resolved.spec.settings == model_class("qlae").Config(latents=12).model_dump()
    assert resolved.sources["model.latents"] == "twice the number of factors"


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
    code = "from disentangle_bench.resolve import resolve; print(resolve('qlae', 'rooms3d', 'smoke', 0).spec.run_id)"
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
    ("text", "seeds"),
    [
        ("5", [0, 1, 2, 3, 4]),
        ("1", [0]),
        ("3-5", [3, 4, 5]),
        ("7-7", [7]),
        ("0,3,9", [0, 3, 9]),
        ("0-2,2,8", [0, 1, 2, 8]),
    ],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "a", "3-", "5-2", "1,,2", "1;2", "0x5"])
def test_bad_seeds(text):
    with pytest.raises(BenchError, match="is not understood: give how many"):
        parse_seeds(text)


def test_a_grid_has_whole_comparisons_first():
    specs = expand("all", "rooms3d", "2", "smoke")
    assert [spec.seed for spec in specs] == [0] * 6 + [1] * 6
    assert [spec.model for spec in specs[:6]] == [spec.model for spec in specs[6:]] == MODELS.names("all")


def test_protocols_are_fair():
    """One schedule, one sample and one set of metrics for every model: nothing in a protocol names a model."""
    for protocol in PROTOCOLS.values():
        content = json.dumps(protocol.model_dump())
        assert not any(name in content for name in MODELS.entries if name != "beta_vae")


def test_names_and_groups():
    assert MODELS.names("qlae, beta_vae,qlae") == ["qlae", "beta_vae"]
    assert MODELS.names("all") == ["beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"]
    assert "rooms3d" in DATASETS.names("rooms3d")


def test_a_name_taken_twice_is_an_error(monkeypatch):
    class Point:
        name, value = "qlae", "other.package:QLAE"

    monkeypatch.setattr("disentangle_bench.registry.entry_points", lambda group: [Point()])
    with pytest.raises(BenchError, match=r"a name that .* has already"):
        _ = Registry("model", "disentangle_bench.models", tuple(MODELS.entries.values())).entries
