"""Plug-ins in one file: by path or as a class, in other processes, told apart by content."""

from __future__ import annotations

import importlib.util
import json
import linecache
import subprocess
import sys

import pytest

import disentangle_bench as db
from disentangle_bench import plugins
from disentangle_bench.config.resolve import resolve
from disentangle_bench.store import runs

MODEL = '''
import torch
from torch.nn import functional as F

import disentangle_bench as db


class Tiny(db.Model):
    """A linear autoencoder."""

    version = 1

    class Config(db.Settings):
        scale: float = 1.0

    def __init__(self, config, *, image_shape, n_train, network):
        super().__init__()
        self.config = config
        self.encoder = network.encoder(image_shape, config.latents)
        self.decoder = network.decoder(config.latents, image_shape)

    def losses(self, x, step, noise):
        mse = F.mse_loss(self.decoder(self.encoder(x)), x)
        return {"autoencoder": self.config.scale * mse}, {"mse": mse.detach()}

    def encode(self, x):
        return db.Codes(self.encoder(x))

    def decode(self, codes):
        return self.decoder(codes.values)
'''
METRIC = """
import disentangle_bench as db

CARD = db.MetricCard("spread", 1, "", "range of the codes", (db.ScoreCard("range", True, "range"),), {"plain": "as is"})


def score(evaluation, *, variant, rng):
    values = evaluation.codes.values
    return db.MetricResult({"range": float(values.max() - values.min())})
"""
DATASET = '''
import numpy as np

import disentangle_bench as db


class Stripes(db.Dataset):
    """Images of two factors: which row is lit, and how brightly."""

    card = db.Card("stripes", 1, "lit rows", ("row", "light"), (64, 60), (1, 64, 64), "CC0", "")

    @classmethod
    def load(cls, folder):
        return cls()

    def images(self, index):
        factors = self.factors(index)
        out = np.zeros((len(factors), 64, 64, 1), np.uint8)
        out[np.arange(len(factors)), factors[:, 0]] = (100 + factors[:, 1])[:, None, None]
        return out
'''
NETWORK = """
from torch import nn


class Flat:
    def encoder(self, image_shape, outputs):
        c, h, w = image_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, outputs))

    def decoder(self, inputs, image_shape):
        c, h, w = image_shape
        return nn.Sequential(nn.Linear(inputs, c * h * w), nn.Unflatten(1, image_shape))
"""
FEW = {"training.updates": 2, "scoring.train_images": 100, "scoring.test_images": 40}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write("model.py", MODEL)`` writes a file into the current folder and gives its name."""
    monkeypatch.chdir(tmp_path)

    def make(name, source):
        (tmp_path / name).write_text(source)
        return name

    return make


def run(models, datasets="rooms3d", changes=FEW, jobs=0, out="results"):
    return db.run(models, datasets, protocol="smoke", seeds=1, changes=changes, out=out, devices="cpu", jobs=jobs)


@pytest.mark.slow
def test_a_model_in_a_file_runs_in_another_process_and_is_loaded_again(write):
    results = run(write("tiny.py", MODEL), jobs=1)
    assert results.failures == {}
    result = results["Tiny"]
    file = result.spec.files["Tiny"]
    assert file.path.endswith("tiny.py")
    assert (results.folder / "plugins" / f"{file.sha256}.py").read_text() == MODEL
    assert result.spec.model_version == int(file.sha256[:13], 16)
    record = json.loads((result.folder / "record.json").read_text())
    assert record["spec"]["files"]["Tiny"] == {"path": file.path, "sha256": file.sha256}
    # In a process that has never seen the file, and after it is gone.
    write("tiny.py", "")
    code = "import disentangle_bench as db; print(type(db.load('results')['Tiny'].model().module).__name__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "Tiny"


@pytest.mark.slow
def test_a_changed_file_is_another_version_and_its_path_is_not(write, capsys):
    first = resolve(write("tiny.py", MODEL), "rooms3d", "smoke", 0).spec
    moved_spec = resolve(write("other.py", MODEL) + ":Tiny", "rooms3d", "smoke", 0).spec
    assert first.run_id == moved_spec.run_id
    run("tiny.py")
    assert "new version" not in capsys.readouterr().err
    results = run(write("tiny.py", MODEL + "\n# changed\n"))
    assert "tiny.py is not what it was for 1 runs: a new version" in capsys.readouterr().err
    assert len(results) == 2
    board = results.leaderboard(["mse.mse"])
    assert len(board) == 2
    assert set(board["n"]) == {1}


@pytest.mark.thorough
def test_metrics_datasets_and_networks_in_files(write):
    write("tiny.py", MODEL)
    network = {"training.network": write("flat.py", NETWORK) + ":Flat"}
    results = run("tiny.py", write("stripes.py", DATASET), FEW | network, jobs=1)
    assert results.failures == {}
    spec = results["Tiny"].spec
    assert spec.dataset == "stripes"
    assert spec.training.network.startswith("Flat@")
    assert set(spec.files) == {"Tiny", "stripes", spec.training.network}
    assert spec.training.network in next(change for change in spec.changed if "network" in change)
    scores = db.score(results["Tiny"].codes(), results["Tiny"].evaluation().factors, write("spread.py", METRIC))
    assert scores["spread"].range > 0


@pytest.mark.slow
def test_the_command_in_a_failure_does_the_run(write):
    spec = resolve(write("tiny.py", MODEL), "rooms3d", "smoke", 0, ["training.updates=2"]).spec
    run("tiny.py", changes={"training.updates": 2})
    arguments = runs.command(spec, db.load("results").folder).split()
    models = arguments[arguments.index("--models") + 1]
    assert resolve(models, "rooms3d", "smoke", 0, ["training.updates=2"]).spec.run_id == spec.run_id


def test_a_class_given_as_an_object(write):
    path = write("tiny.py", MODEL)
    module_spec = importlib.util.spec_from_file_location("tiny", path)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules["tiny"] = module
    try:
        module_spec.loader.exec_module(module)
        assert run([module.Tiny])["Tiny"].spec.files["Tiny"].path.endswith("tiny.py")
    finally:
        del sys.modules["tiny"]


def test_a_class_of_ours_is_known_by_its_name():
    from disentangle_bench.models.factor_qvae import FactorQVAE
    from disentangle_bench.registry import MODELS

    assert MODELS.name_of(FactorQVAE) == "factor_qvae"


@pytest.mark.slow
def test_a_script_without_a_guard(write):
    """The script's own class; the processes of runs import its definitions and do not run it again."""
    script = (
        MODEL
        + f"""
print("once")
results = db.run([Tiny], "rooms3d", protocol="smoke", seeds=1, changes={FEW!r}, devices="cpu", jobs=1)
print(len(results), results.failures)
"""
    )
    result = subprocess.run([sys.executable, write("script.py", script)], capture_output=True, text=True)
    assert result.stdout.split("\n")[:2] == ["once", "1 {}"], result.stdout + result.stderr


def cells(*texts):
    """Execute cells as IPython does: their text is known to linecache. Return the notebook's namespace."""
    space = {"__name__": "__main__"}
    for number, source in enumerate(texts):
        name = f"<cell-{number}-{hash(source)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), space)
    return space


def test_a_class_of_a_notebook_is_a_plugin_with_what_it_needs_of_other_cells(tmp_path):
    """Its imports, functions, values and classes; not the cell's other statements, nor names that only look alike."""
    first = (
        "import torch\nfrom torch.nn import functional as F\nimport disentangle_bench as db\nSCALE, x = 3.0, object()\n"
    )
    second = "def scaled(number):\n    return SCALE * number\n\n\nclass Base(db.Settings):\n    scale: float = 1.0\n"
    model = MODEL[MODEL.index("class Tiny") :].replace(
        "class Config(db.Settings):\n        scale: float = 1.0", "Config = Base"
    )
    model = model.replace(
        "F.mse_loss(self.decoder(self.encoder(x)), x)", "scaled(F.mse_loss(self.decoder(self.encoder(x)), x))"
    )
    space = cells(first, second, model + "\nprint('a cell that does more')\n")
    source, name = plugins.of_class(space["Tiny"])
    assert name == "Tiny"
    for part in ("import torch.nn.functional as F", "SCALE = 3.0", "def scaled(number):", "class Base(db.Settings):"):
        assert part in source.text
    assert "print(" not in source.text
    results = run([space["Tiny"]])
    assert results.failures == {}
    namespace = cells(first.replace("3.0", "4.0"), second, model)
    assert plugins.of_class(namespace["Tiny"])[0].file.sha256 != source.file.sha256


def test_what_a_notebook_cannot_hand_over_is_named():
    space = cells(
        "import disentangle_bench as db\nlog = open('/dev/null')\n",
        "class T(db.Model):\n    def f(self):\n        log.read()",
    )
    with pytest.raises(db.BenchError, match=r"T uses 'log' of another cell, a TextIOWrapper.*%%writefile my_model\.py"):
        plugins.of_class(space["T"])
    space["log"].close()


def test_a_class_without_a_source_is_refused_clearly():
    space = {"__name__": "__main__"}
    exec(MODEL, space)
    with pytest.raises(db.BenchError, match=r"%%writefile my_file\.py"):
        run([space["Tiny"]])


FAULTS = {
    "a plain module": ("class Tiny(torch.nn.Module): pass", "Tiny in .* is no model, which is a class that derives"),
    "no version": (MODEL.replace("version = 1", ""), "has no 'version': derive its class"),
    "no Config": (MODEL.replace("class Config(db.Settings)", "class Konfig(db.Settings)"), "has no 'Config'"),
    "a syntax error": ("def x(:\n", r"tiny\.py:1 cannot be imported: SyntaxError"),
    "an exit": ("raise SystemExit(3)", r"tiny\.py:4 cannot be imported: SystemExit"),
    "a sibling": ("import beside_me", "No module named 'beside_me'. Mend the file; it may import what is installed"),
    "another name": (MODEL.replace("class Tiny", "class Tony"), "unknown model in tiny.py 'Tiny'. Did you mean 'Tony'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_files_are_named_in_one_line(write, name):
    source, message = FAULTS[name]
    write("tiny.py", source if source.startswith("\n") or name == "a syntax error" else f"import torch\n\n\n{source}\n")
    with pytest.raises(db.BenchError, match=message):
        db.plan("tiny.py:Tiny", "rooms3d", protocol="smoke")


def test_a_missing_file_and_two_models_of_one_name(write):
    with pytest.raises(db.BenchError, match=r"'nowhere\.py' cannot be read"):
        db.plan("nowhere.py", "rooms3d")
    first_path, second_path = write("one.py", MODEL), write("other.py", MODEL + "\n")
    with pytest.raises(db.BenchError, match=r"both have a model 'Tiny': rename one"):
        db.plan(f"{first_path},{second_path}", "rooms3d")


@pytest.mark.slow
def test_a_changed_copy_is_refused(write):
    results = run(write("tiny.py", MODEL))
    (copy,) = (results.folder / "plugins").iterdir()
    copy.write_text("import os\n")
    code = "import disentangle_bench as db; db.load('results')['Tiny'].model()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "was changed: give the same dbench run again" in result.stderr
