"""Grids of settings: lists after ``--set``, and TOML files after ``--grid``."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.config import grids
from disentangle_bench.config.grids import expand, read_grid
from disentangle_bench.errors import BenchError
from disentangle_bench.models.networks import NETWORKS
from disentangle_bench.training.batches import evaluation_sample

ABLATION = """
[grid]
model.gamma = [0, 1e-5, 1e-4]
model.codebook = ["global", "per_latent"]
"training.precision" = ["fp32"]
"""


def written(tmp_path, content):
    path = tmp_path / "ablation.toml"
    path.write_text(content)
    return path


def test_a_file_expands_to_all_combinations(tmp_path):
    specs = expand("factor_qvae", "rooms3d", "2", "smoke", (), written(tmp_path, ABLATION))
    combinations = [(spec.seed, spec.settings["gamma"], spec.settings["codebook"]) for spec in specs]
    assert combinations == [(s, g, c) for s in (0, 1) for g in (0, 1e-5, 1e-4) for c in ("global", "per_latent")]
    assert len({spec.digest for spec in specs}) == 12
    # gamma 1e-4 with the global codebook is the baseline itself: that run is by the protocol.
    assert [spec.changed for spec in specs if not spec.changed] == [(), ()]


def test_a_file_and_lists_of_set_multiply(tmp_path):
    specs = expand("factor_qvae", "rooms3d", "1", "smoke", ["model.symbols=8,16"], written(tmp_path, ABLATION))
    assert len(specs) == 12
    listed_specs = expand("factor_qvae", "rooms3d", "1", "smoke", ["model.symbols=8,16", "model.gamma=0,1e-5,1e-4",
                    "model.codebook=global,per_latent"])  # fmt: skip
    assert {spec.digest for spec in listed_specs} == {spec.digest for spec in specs}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[grid]\nmodel.gamma = 1e-4\n", r"model.gamma = 0.0001 is no list of numbers or texts"),
        ("[grid]\nmodel.gamma = []\n", r"model.gamma = \[\] is no list"),
        ("[grid]\nmodel.gamma = [[1]]\n", r"is no list of numbers or texts"),
        ("[grids]\n", r"holds grids: give one table, \[grid\]"),
        ("", r"holds nothing: give one table, \[grid\]"),
        ("[grid\n", "is not valid TOML"),
        ("[grid]\nmodel.symbols = " + "[" * 3000, "is not valid TOML"),
        ("[grid]\nmodel.symbols = [" + "9" * 5000 + "]", "is not valid TOML"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(BenchError, match=message) as error:
        read_grid(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_key_given_twice(tmp_path):
    with pytest.raises(BenchError, match=r"--grid .* cannot be read \(No such file or directory\): give a TOML file"):
        read_grid(tmp_path / "none.toml")
    path = written(tmp_path, ABLATION)
    with pytest.raises(BenchError, match=r"model.gamma is changed twice, by .*ablation.toml and by another option"):
        expand("factor_qvae", "rooms3d", "1", "smoke", ["model.gamma=1"], path)


def test_an_unknown_key_in_a_file_is_an_error(tmp_path):
    path = written(tmp_path, "[grid]\nmodel.gama = [1, 2]\n")
    with pytest.raises(BenchError, match=r"unknown setting 'model.gama'.*model.gamma"):
        expand("factor_qvae", "rooms3d", "1", "smoke", (), path)


def test_a_grid_of_too_many_runs_is_counted_and_refused(monkeypatch):
    values = ",".join(map(str, range(1, 101)))
    changes = [f"model.{key}={values}" for key in ("symbols", "latents", "weight_decay")]
    with pytest.raises(BenchError, match="means 1,000,000 runs, and a grid has at most 100,000"):
        expand("qlae", "rooms3d", "1", "smoke", changes)
    monkeypatch.setattr(grids, "MOST_RUNS", 11)
    with pytest.raises(BenchError, match="this grid means 12 runs, and a grid has at most 11"):
        expand("paper", "rooms3d", "2", "smoke")


@pytest.fixture
def images(tmp_path):
    """``images(40, 64)``: the path of a file with 40 images of 64 x 64 pixels."""

    def write(n, side):
        path = tmp_path / f"{n}-{side}.npz"
        images = np.random.default_rng(0).integers(0, 256, (n, side, side, 1), dtype=np.uint8)
        np.savez(path, images=images, factors=np.arange(n)[:, None])
        return str(path)

    return write


def test_images_that_the_network_cannot_take_are_refused_before_a_run(images):
    with pytest.raises(BenchError, match=r"40-28.npz: the network conv64 .* multiples of 16, not 28 x 28 pixels"):
        expand("qlae", images(40, 28), "1", "smoke")


def test_a_dataset_that_is_too_small_is_refused_before_a_run(images):
    with pytest.raises(BenchError, match=r"29-32.npz has 29 images, and a run needs at least 30"):
        expand("qlae", images(29, 32), "1", "smoke")
    (spec,) = expand("qlae", images(30, 32), "1", "cpu")
    index, fit = evaluation_sample(spec, 30)
    assert (len(index), fit) == (3, 2)


def test_all_built_in_datasets_fit_all_networks():
    for network in NETWORKS:
        expand("qlae", "all", "1", "smoke", [f"training.network={network}"])
