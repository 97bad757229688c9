"""The contracts of datasets and metrics over the registry, and that the checks find planted faults."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from disentangle_bench.data.dataset import Batches, Card, Dataset
from disentangle_bench.data.files import data_folder
from disentangle_bench.metrics.metric import MetricResult
from disentangle_bench.registry import METRICS, dataset_class, metric_module
from disentangle_bench.testing import Violation, check_dataset, check_metric


@pytest.mark.parametrize("name", METRICS.entries)
def test_every_metric_keeps_the_contract(name):
    check_metric(metric_module(name))


@pytest.mark.parametrize("name", ["rooms3d", "dsprites_rendered"])
def test_every_drawn_dataset_keeps_the_contract(name):
    check_dataset(dataset_class(name).load(data_folder(None)))


class Stripes(Dataset):
    """Four images of two factors."""

    card = Card("stripes", 1, "", ("row", "colour"), (2, 2), (1, 16, 16), "CC0", "")

    @classmethod
    def load(cls, folder):
        return cls()

    def images(self, index):
        out = np.zeros((len(index), 16, 16, 1), np.uint8)
        for image, (row, colour) in zip(out, self.factors(index), strict=True):
            image[8 * row : 8 * row + 8] = 100 + 100 * colour
        return out


def test_a_sound_dataset_passes():
    check_dataset(Stripes())


DATASET_FAULTS = {
    "other bytes on the device": (
        {"place": lambda self, device: Batches(lambda index: 255 - Stripes.place(self, device)(index))},
        "different bytes",
    ),
    "other bytes by an index on the device": (
        {"place": lambda self, device: Batches(Stripes.place(self, device), lambda index: index.new_zeros(1))},
        "gather gives other bytes",
    ),
    "floats": ({"images": lambda self, index: Stripes.images(self, index) / 255}, "not uint8"),
    "channels first in memory": (
        {"place": lambda self, device: Batches(lambda index: torch.zeros(len(index), 3, 16, 16, dtype=torch.uint8)),
         "card": Card("s", 1, "", ("row", "colour"), (2, 2), (3, 16, 16), "CC0", ""),
         "images": lambda self, index: np.repeat(Stripes.images(self, index), 3, axis=3)},
        "not channels-last",
    ),
    "a factor too many": ({"factors": lambda self, index: np.zeros((len(index), 3), np.int64)}, "factors has shape"),
    "factors from 1": ({"factors": lambda self, index: 1 + Stripes.factors(self, index)}, "outside 0 .. size-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATASET_FAULTS)
def test_finds_faults_of_datasets(name):
    methods, message = DATASET_FAULTS[name]
    with pytest.raises(Violation, match=message):
        check_dataset(type("Faulty", (Stripes,), methods)())


MIG = importlib.import_module("disentangle_bench.metrics._mig")


def faulty(score):
    return SimpleNamespace(CARD=MIG.CARD, score=score)


def global_noise(evaluation, *, variant, rng):
    return MetricResult({"score": float(np.random.random())})  # noqa: NPY002


def change(evaluation, *, variant, rng):
    evaluation.codes.values[:] = 0
    return MetricResult({"score": 1.0})


METRIC_FAULTS = {
    "a global generator": (global_noise, "global random generator"),
    "another score": (lambda evaluation, *, variant, rng: MetricResult({"mig": 1.0}), "gives scores"),
    "NaN without a note": (lambda evaluation, *, variant, rng: MetricResult({"score": np.nan}), "no note says why"),
    "changed codes": (change, "changes the codes"),
}


@pytest.mark.parametrize("name", METRIC_FAULTS)
def test_finds_faults_of_metrics(name):
    score, message = METRIC_FAULTS[name]
    with pytest.raises(Violation, match=message):
        check_metric(faulty(score))
