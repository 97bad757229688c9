"""Who may import whom, and what must not be imported by light commands."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import disentangle_bench

ROOT = Path(disentangle_bench.__file__).parent
LAYERS = [
    {"errors", "atomic", "spec", "codes", "cores"},
    {"data", "models", "metrics"},
    {"registry"},
    {"config"},
    {"training"},
    {"store"},
    {"scoring"},
    {"testing"},
    {"runner"},
    {"report"},
    {"cli"},
]
"""One row per folder, and the modules of the root: a module imports only what stands in its row or above."""
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if path.name not in ("__main__.py",))


def name_of(path):
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__").removesuffix("__init__")


def layer(module):
    for number, members in enumerate(LAYERS):
        if module.split(".")[0] in members:
            return number
    raise AssertionError(f"{module} is in no layer: add it to LAYERS")


def imports(path):
    """Modules of the package that a file imports, anywhere in it except under TYPE_CHECKING."""
    tree = ast.parse((ROOT / path).read_text())
    hidden = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    known = {name_of(module) for module in MODULES}
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        for name in names:
            inner = name.removeprefix("disentangle_bench.")
            if inner != name and inner in known:
                yield inner


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path)], ids=str)
def test_modules_import_only_what_lies_below(path):
    module = name_of(path)
    for other in set(imports(path)) - {module}:
        assert layer(other) <= layer(module), f"{module} imports {other} from a higher layer"
        if layer(module) == layer(other) == 1:
            assert module.split(".")[0] == other.split(".")[0], f"{module} imports {other} from another folder"


def loaded(code, *modules):
    """Which of ``modules`` a fresh interpreter has loaded after ``code``."""
    script = f"import sys\n{code}\nprint([name for name in {modules!r} if name in sys.modules])"
    return ast.literal_eval(subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()[-1])


HEAVY = ("torch", "sklearn", "matplotlib", "pandas", "numba", "scipy")


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "models"], ["list", "datasets"], ["list", "metrics"], ["list", "protocols"]]
)
def test_light_commands_import_nothing_heavy(words):
    code = f"from disentangle_bench.cli import main\nmain({words!r}, standalone_mode=False)"
    assert loaded(code, *HEAVY) == []


@pytest.mark.parametrize("words", [["--help"], ["list", "models"]])
def test_light_commands_are_fast(words):
    """Under half a second of processor time: other tests on the same cores stretch the clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "disentangle_bench", *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize(
    "module",
    ["spec", "codes", "store.runs", "registry", "config.protocols", "config.baselines", "training.batches", "report"],
)
def test_no_torch_where_records_are_read(module):
    assert loaded(f"import disentangle_bench.{module}", "torch") == []


def test_the_only_optimizer_step_is_the_trainers():
    users = [path for path in MODULES if "optimizer.step()" in (ROOT / path).read_text()]
    assert users == [Path("training/trainer.py")]
