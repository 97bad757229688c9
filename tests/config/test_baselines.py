"""Baselines: one file per model with its settings on each dataset, and where they come from."""

from __future__ import annotations

import re
import sys

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main
from disentangle_bench.config import baselines
from disentangle_bench.config.protocols import PROTOCOLS, is_ranked
from disentangle_bench.config.resolve import resolve
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS, MODELS, Entry, dataset_class, model_class
from support import resolved_digests

NAMES = resolved_digests.built_in(MODELS)
DATASET_NAMES = resolved_digests.built_in(DATASETS)


def test_every_built_in_model_has_a_file_and_no_file_is_left_over():
    assert sorted(path.stem for path in baselines.folder().iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("model", NAMES)
def test_every_file_is_the_whole_truth(model):
    """Each setting on each dataset is said by the file, with a source, and not by the class's defaults."""
    baseline, _ = baselines.read(model)
    assert set(baseline.protocols) <= set(PROTOCOLS)
    assert set(baseline.datasets) | set(baseline.transfers) == set(DATASET_NAMES)
    keys = {key for section in baseline.datasets.values() for key in section.settings}
    assert keys.isdisjoint(baseline.settings), "[settings] has only what all datasets share"
    assert keys | set(baseline.settings) | {"latents"} == set(resolve(model, "rooms3d", "cpu", 0).spec.settings)
    for section in (*baseline.datasets.values(), *baseline.protocols.values()):
        assert re.search(r" et al\. 20\d\d \(arXiv \d{4}\.\d{5}\)", section.reference), model
    for name in DATASET_NAMES:
        section = baseline.section(name)
        assert section.note or section.kind == "published", f"{model} does not say why {name} has its settings"


@pytest.mark.parametrize("dataset", DATASET_NAMES)
def test_latents_are_twice_the_factors(dataset):
    resolved = resolve("qlae", dataset, "cpu", 0)
    assert resolved.spec.settings["latents"] == 2 * len(dataset_class(dataset).card.factor_names)
    assert resolved.sources["model.latents"] == "twice the number of factors"


@pytest.mark.parametrize(
    ("dataset", "protocol", "key", "value", "source"),
    [
        ("shapes3d", "standard", "symbols", "10", "[settings]: published, Hsu et al. 2023 "),
        ("shapes3d", "standard", "weight_decay", "0.1", "[datasets.shapes3d]: published, Hsu et al. 2023 "),
        ("mpi3d_toy", "standard", "symbols", "10", "[settings]: transferred, Hsu et al. 2023 "),
        (
            "mpi3d_toy",
            "standard",
            "weight_decay",
            "0.001",
            "[transfers] mpi3d_toy, as [datasets.mpi3d_real_complex]: transferred, Hsu et al. 2023 ",
        ),
        ("shapes3d", "factorqvae2024", "symbols", "16", "[protocols.factorqvae2024]: published, Baykal et al. 2024 "),
        ("falcor3d", "factorqvae2024", "symbols", "16", "[protocols.factorqvae2024]: transferred, Baykal et al. 2024 "),
    ],
)
def test_show_names_file_and_section(dataset, protocol, key, value, source):
    result = CliRunner().invoke(main, ["show", "qlae", dataset, "--protocol", protocol])
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.output.splitlines() if line.startswith(f"model.{key} "))
    assert re.match(rf"model\.{key} += {re.escape(value)} +# baselines/qlae\.toml {re.escape(source)}", line)


SOURCE = "kind = 'ours'\nreference = 'x'\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[datasets.rooms3d]\nkind = 'ours'", "'datasets.rooms3d.reference' is missing"),
        ("[datasets.rooms3d]\nkind = 'heard'\nreference = 'x'", "datasets.rooms3d.kind = 'heard' is not allowed"),
        ("[setings]\na = 1", "there is no setting 'setings'"),
        ("[settings]\na = [1]", r"settings.a.* = \[1\] is not allowed"),
        ("[settings\n", "is not valid TOML"),
        ("a = " + 3000 * "[" + 3000 * "]", "is not valid TOML"),
        ("[transfers]\nrooms3d = { from = 'shapes3d', reason = 'x' }", "from 'shapes3d', which has no section"),
        (
            f"[datasets.rooms3d]\n{SOURCE}[transfers]\nrooms3d = {{ from = 'rooms3d', reason = 'x' }}",
            r"rooms3d has both \[datasets.rooms3d\] and a line in \[transfers\]",
        ),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "beta_vae.toml"
    path.write_text(content)
    with pytest.raises(BenchError, match=message) as error:
        baselines.parse(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_setting_in_a_file_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "beta_vae.toml").write_text("[settings]\nbeta = 4")
    monkeypatch.setattr(baselines, "folder", lambda: tmp_path)
    with pytest.raises(BenchError, match=r"settings of beta_vae: there is no setting 'beta'. Allowed: latents, kl_"):
        resolve("beta_vae", "rooms3d", "smoke", 0)


def test_a_dataset_without_a_section_has_the_common_settings(tmp_path, monkeypatch):
    (tmp_path / "qlae.toml").write_text("[settings]\nsymbols = 7")
    monkeypatch.setattr(baselines, "folder", lambda: tmp_path)
    resolved = resolve("qlae", "rooms3d", "smoke", 0)
    assert resolved.spec.settings == model_class("qlae").Config(latents=12, symbols=7).model_dump()
    assert resolved.sources["model.symbols"] == "baselines/qlae.toml [settings]"
    assert resolved.sources["model.weight_decay"] == "default of QLAE.Config"


@pytest.mark.parametrize(("row", "other"), [("q_vae", "factor_qvae"), ("dvae", "factor_dvae")])
def test_a_row_fixes_settings(row, other):
    resolved = resolve(row, "shapes3d", "standard", 0)
    assert model_class(row) is model_class(other)
    assert "gamma" not in resolved.spec.settings
    assert (resolved.values["model.gamma"], resolved.sources["model.gamma"]) == (0.0, f"fixed by the row {row}")
    output = CliRunner().invoke(main, ["show", row, "shapes3d"]).output
    assert re.search(rf"^model\.gamma +=\s+0\.0 +# fixed by the row {row}$", output, re.MULTILINE)
    with pytest.raises(BenchError, match=rf"gamma is fixed at 0.0 by the row {row}: leave it out, or take {other}"):
        resolve(row, "shapes3d", "standard", 0, ["model.gamma=1"])


MODEL = """
from typing import final
from disentangle_bench.models.model import Model, Settings

@final
class Mine(Model):
    version = 1

    class Config(Settings):
        strength: float = 1.0
"""
SETTINGS = """
[datasets.rooms3d]
kind = "ours"
reference = "Me 2026"
settings = {{ {key} = 7.0 }}
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A plug-in whose module lies in the folder that is given, by a registry with its row."""
    (tmp_path / "mine_models.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    row = Entry("mine", "mine_models:Mine", "a plug-in", "plugin")
    monkeypatch.setattr(MODELS, "entries", {**MODELS.entries, "mine": row})
    yield tmp_path
    sys.modules.pop("mine_models", None)


@pytest.mark.parametrize("file_name", ["baselines/mine.toml", "mine.toml"])
def test_a_plug_in_brings_its_own_settings(mine, file_name):
    path = mine / file_name
    path.parent.mkdir(exist_ok=True)
    path.write_text(SETTINGS.format(key="strength"))
    resolved = resolve("mine", "rooms3d", "cpu", 0)
    assert resolved.spec.settings == {"latents": 12, "strength": 7.0}
    assert resolved.sources["model.strength"] == f"{path} [datasets.rooms3d]: ours, Me 2026"
    assert is_ranked(resolved.spec), "settings that come with the model are no change"
    assert resolve("mine", "shapes3d", "cpu", 0).spec.settings["strength"] == 1.0


def test_a_bad_file_of_a_plug_in_is_named(mine):
    (mine / "mine.toml").write_text(SETTINGS.format(key="strenght"))
    with pytest.raises(BenchError, match="settings of mine: there is no setting 'strenght'"):
        resolve("mine", "rooms3d", "cpu", 0)
    (mine / "mine.toml").write_text("[dataset.rooms3d]")
    with pytest.raises(BenchError, match=r"mine.toml: there is no setting 'dataset'"):
        resolve("mine", "rooms3d", "cpu", 0)


def test_a_plug_in_without_a_file_has_its_defaults(mine):
    resolved = resolve("mine", "rooms3d", "cpu", 0)
    assert resolved.spec.settings == {"latents": 12, "strength": 1.0}
    assert resolved.sources["model.strength"] == "default of Mine.Config"
