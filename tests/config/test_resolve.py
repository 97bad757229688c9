"""From names to specs: baselines, protocols, changes, identity."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main
from disentangle_bench.config import baselines
from disentangle_bench.config.grids import expand, parse_seeds
from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, MODELS, Registry, dataset_class, model_class
from disentangle_bench.spec import RunSpec, flat

FILES = sorted(baselines.folder().glob("*/*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_baseline_file_is_the_whole_truth(path):
    """Under every protocol the settings are the file's and nothing else's, with a protocol's own section on top."""
    model, dataset, baseline = path.parent.name, path.stem, baselines.parse(path)
    assert set(baseline.protocols) <= set(PROTOCOLS)
    for protocol in PROTOCOLS:
        section = baseline.protocols.get(protocol)
        own = section.settings if section else {}
        assert own.items().isdisjoint(baseline.settings.items()), "a section has only what differs"
        resolved = resolve(model, dataset, protocol, 0)
        assert resolved.spec.settings == baseline.settings | own
        for key in resolved.spec.settings:
            where, choice = (f" [protocols.{protocol}]", section) if key in own else ("", baseline)
            source = f"baselines/{model}/{dataset}.toml{where}: {choice.source.kind}, {choice.source.reference}"
            assert resolved.sources[f"model.{key}"] == source


def test_there_is_a_baseline_for_every_model_on_every_dataset():
    built_in = [{row.name for row in table.entries.values() if row.group != "plugin"} for table in (MODELS, DATASETS)]
    assert {(path.parent.name, path.stem) for path in FILES} == set(itertools.product(*built_in))


def test_baselines_have_twice_as_many_latents_as_factors():
    latents = {path: baselines.parse(path).settings["latents"] for path in FILES}
    assert latents == {path: 2 * len(dataset_class(path.stem).card.factor_names) for path in FILES}


def test_baselines_say_where_their_settings_come_from():
    for path in FILES:
        baseline = baselines.parse(path)
        for choice in (baseline, *baseline.protocols.values()):
            assert re.search(r" et al\. 20\d\d \(arXiv \d{4}\.\d{5}\)", choice.source.reference), path
        assert baseline.source.note or baseline.source.kind == "published", f"{path} does not say why"


@pytest.mark.parametrize(
    ("protocol", "symbols", "section"), [("standard", 10, ""), ("factorqvae2024", 16, " [protocols.factorqvae2024]")]
)
def test_show_names_the_section_of_the_protocol(protocol, symbols, section):
    shown = CliRunner().invoke(main, ["show", "qlae", "shapes3d", "--protocol", protocol])
    assert shown.exit_code == 0, shown.output
    (line,) = (line for line in shown.output.splitlines() if line.startswith("model.symbols "))
    value, source = line.partition(" = ")[2].split("#")
    assert int(value) == symbols
    assert source.startswith(f" baselines/qlae/shapes3d.toml{section}: published, ")


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
        words = set(re.findall(r"\w+", json.dumps(protocol.model_dump())))
        assert words.isdisjoint(MODELS.entries)


def test_names_and_groups():
    assert MODELS.names("qlae, beta_vae,qlae") == ["qlae", "beta_vae"]
    six = ["beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"]
    assert MODELS.names("all") == six
    extended = MODELS.names("extended")
    assert len(extended) == 10
    assert {"ae", "dip_vae_ii", "factor_dvae"} <= set(extended)
    assert MODELS.names("all,extended") == six + extended
    assert "rooms3d" in DATASETS.names("rooms3d")


def test_a_name_taken_twice_is_an_error(monkeypatch):
    class Point:
        name, value = "qlae", "other.package:QLAE"

    monkeypatch.setattr("disentangle_bench.registry.entry_points", lambda group: [Point()])
    with pytest.raises(BenchError, match=r"a name that .* has already"):
        _ = Registry("model", "disentangle_bench.models", tuple(MODELS.entries.values())).entries
