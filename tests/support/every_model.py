"""All built-in models as parameters: the paper's six in the default tests, the others in those that only CI runs."""

from __future__ import annotations

import pytest

from disentangle_bench.registry import MODELS

EVERY_MODEL = [
    name if entry.group == "paper" else pytest.param(name, marks=pytest.mark.slow)
    for name, entry in MODELS.entries.items()
]
