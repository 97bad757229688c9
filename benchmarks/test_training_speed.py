"""What an update costs: quantised models against beta_vae, and putting a batch together against an update.

    pytest benchmarks/test_training_speed.py -s -o addopts=""

Times are of one thread, batch 64, network conv64. Rounds of all models are interleaved, because the machine's speed
drifts; ratios are of medians within this one run.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from disentangle_bench.data.files import data_folder
from disentangle_bench.registry import MODELS, dataset_class
from disentangle_bench.resolve import resolve
from disentangle_bench.train import Trainer

ROUNDS, WARM_UP = 30, 3
CASES = {name: (name, []) for name in MODELS.names("all")} | {
    "factor_qvae without TC": ("factor_qvae", ["model.gamma=0"])
}


@pytest.fixture(scope="module")
def trainers(tmp_path_factory):
    torch.set_num_threads(1)
    dataset = dataset_class("rooms3d").load(data_folder(None))
    folder = tmp_path_factory.mktemp("runs")
    return {
        case: Trainer(resolve(model, "rooms3d", "cpu", 0, changes).spec, dataset, folder, torch.device("cpu"))
        for case, (model, changes) in CASES.items()
    }


@pytest.fixture(scope="module")
def medians(trainers):
    """Seconds of an update of each case, and of putting beta_vae's batch together."""
    seconds = {case: [] for case in trainers} | {"batch": []}
    for round_ in range(WARM_UP + ROUNDS):
        for case, trainer in trainers.items():
            began = time.perf_counter()
            trainer.update()
            seconds[case].append(time.perf_counter() - began)
        trainer = trainers["beta_vae"]
        began = time.perf_counter()
        trainer.images(trainer.stream.batch(round_))
        seconds["batch"].append(time.perf_counter() - began)
    return {case: statistics.median(values[WARM_UP:]) for case, values in seconds.items()}


def test_updates(medians, capsys):
    base = medians["beta_vae"]
    with capsys.disabled():
        print()
        for case, seconds in medians.items():
            print(f"{case:24} {1e3 * seconds:8.2f} ms   {seconds / base:6.3f} x beta_vae")
    for case in ("vq_vae", "qlae", "factor_qvae without TC"):
        assert medians[case] <= 1.1 * base
    assert medians["batch"] <= 0.05 * base


def test_beta_vae_update(benchmark, trainers):
    benchmark(trainers["beta_vae"].update)


def test_batch(benchmark, trainers):
    trainer = trainers["beta_vae"]
    index = trainer.stream.batch(0)
    benchmark(trainer.images, index)
