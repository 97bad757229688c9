"""A new model takes the steps that CONTRIBUTING lists, and no other."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from disentangle_bench.config import baselines
from disentangle_bench.config.resolve import resolve
from disentangle_bench.registry import MODELS, Entry, model_class
from disentangle_bench.testing import check_model
from disentangle_bench.training.trainer import Trainer
from support import by_hand
from support.blobs import Blobs

ROOT = Path(__file__).parents[2]
LIST = re.search(r"## Adding a model\n(.*?)\nThen ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
STEPS = re.findall(r"^\d\. `([^`]+)`", LIST, re.MULTILINE)


def test_the_list_has_five_files():
    assert STEPS == [
        "disentangle_bench/models/<name>.py",
        "disentangle_bench/registry.py",
        "baselines/<name>.toml",
        "docs/models/<name>.md",
        "tests/support/by_hand.py",
    ]


@pytest.mark.parametrize("name", [row.name for row in MODELS.entries.values() if row.group != "plugin"])
def test_every_model_has_all_of_them(name):
    module = MODELS.entries[name].target.partition(":")[0].rpartition(".")[2]
    for step in STEPS:
        assert (ROOT / step.replace("<name>", module if "models/<name>.py" in step else name)).is_file(), step
    assert callable(getattr(by_hand, name))


def test_a_model_made_by_the_list_is_complete(tmp_path, monkeypatch):
    """The file, the line, the settings and the derivation of a model that is planted: all else follows."""
    source = (ROOT / "disentangle_bench" / "models" / "ae.py").read_text()
    (tmp_path / "planted.py").write_text(source.replace("AE", "Planted"))
    monkeypatch.syspath_prepend(tmp_path)
    row = Entry("planted", "planted:Planted", "a planted model", "extended")
    monkeypatch.setattr(MODELS, "entries", {**MODELS.entries, "planted": row})
    (tmp_path / "planted.toml").write_text("[settings]\nweight_decay = 0.02\n")
    monkeypatch.setattr(baselines, "folder", lambda: tmp_path)
    try:
        check_model(model_class("planted"))
        assert "planted" in MODELS.names("extended")
        resolved = resolve("planted", "rooms3d", "smoke", 0)
        assert resolved.sources["model.weight_decay"].startswith("baselines/planted.toml [settings]")
        trainer = Trainer(resolved.spec, Blobs(), torch.device("cpu"))
        trainer.model.double()
        x = trainer.images(trainer.stream.batch(0)).double() / 255
        losses, _ = trainer.model.losses(x, 0, trainer.noise)
        parameters = dict(trainer.model.named_parameters())
        expected = by_hand.ae(parameters, trainer.model.config, x, 0, None, 240)
        assert losses["autoencoder"].item() == pytest.approx(expected["autoencoder"].item(), rel=1e-12)
    finally:
        sys.modules.pop("planted", None)
