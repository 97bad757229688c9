"""Every built-in model resolves on every built-in dataset to the values that it had before."""

from __future__ import annotations

import json

import pytest

from disentangle_bench.registry import DATASETS, MODELS
from support import resolved_digests

GOLDEN = json.loads(resolved_digests.FILE.read_text())


def test_every_model_and_dataset_is_in_the_table():
    assert sorted(GOLDEN) == sorted(resolved_digests.built_in(MODELS))
    for model, datasets in GOLDEN.items():
        assert sorted(datasets) == sorted(resolved_digests.built_in(DATASETS)), model


@pytest.mark.parametrize("model", sorted(GOLDEN))
def test_values_are_what_they_were(model):
    assert resolved_digests.digests(model) == GOLDEN[model], (
        "if this change is meant, say so under Numbers in the CHANGELOG and run "
        "python tests/support/resolved_digests.py --write"
    )
