"""Names of disentangle_bench.metrics: functions, in any order of imports, and cheap to import."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

NAMES = ["dci", "infomec", "mse", "mig", "sap", "modularity", "factor_vae_score", "beta_vae_score", "latents"]


def _run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_metrics_is_cheap() -> None:
    heavy = ("torch", "sklearn", "numba", "scipy", "pandas", "matplotlib")
    _run(f"import sys, disentangle_bench.metrics; assert not [x for x in {heavy} if x in sys.modules], sys.modules")


STEPS = {
    "from": "from disentangle_bench.metrics import {name} as f",
    "plain": "import disentangle_bench.metrics.{name}",
    "module": "import importlib; m = importlib.import_module('disentangle_bench.metrics.{name}')",
    "inside": "from disentangle_bench.metrics.{name} import CARD, score",
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_a_name_is_the_function_and_the_submodule_is_reached_in_any_order(order: tuple[str, ...]) -> None:
    lines = []
    for name in NAMES:
        lines += [STEPS[step].format(name=name) for step in order]
        lines += [
            "import types, disentangle_bench.metrics as p",
            f"assert type(f) is types.FunctionType and f.__name__ == '{name}', f",
            f"assert p.{name} is f is m.{name}",
            f"assert type(m) is types.ModuleType and m.CARD is CARD and CARD.name == '{name}'",
        ]
    _run("\n".join(lines))


def test_all_names_are_exported() -> None:
    import disentangle_bench.metrics as metrics

    assert sorted(metrics.__all__) == sorted(NAMES)
