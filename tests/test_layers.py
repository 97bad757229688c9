"""Rules of the tree: who may import whom, how long a function may be, and what light commands must not import.

Each rule is a function of a package's folder that returns the violations, so that planted ones show that it works.
"""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import disentangle_bench

PACKAGE = "disentangle_bench"
ROOT = Path(disentangle_bench.__file__).parent
LAYERS = [
    {"errors", "atomic", "spec", "codes", "cores", "jit", "processes"},
    {"data", "models", "metrics"},
    {"cells", "plugins", "names", "registry"},
    {"config"},
    {"training"},
    {"store"},
    {"scoring"},
    {"testing"},
    {"runner"},
    {"report"},
    {"api"},
    {"cli"},
]
"""One row per folder, and the modules of the root: a module imports only what stands in its row or above."""
APART = {"data", "models", "metrics"}
"""Folders that do not import each other, although they stand in one row."""
LONGEST_FUNCTION = 60


def module_name(path):
    """``store.runs`` for ``store/runs.py``, ``store`` for ``store/__init__.py``, and nothing for the package itself."""
    return ".".join(path.with_suffix("").parts).removesuffix("__init__").removesuffix(".")


@cache
def trees(root):
    """Module names to syntax trees."""
    return {module_name(path.relative_to(root)): ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}


@cache
def imports(root):
    """Module names to the modules of the package that each imports, anywhere in it except under TYPE_CHECKING.

    The package's own ``__init__`` is left out: it offers the public names lazily and may be imported by all.
    """
    graph = {}
    for module, tree in trees(root).items():
        hidden = {
            node
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        names = [name for node in ast.walk(tree) if node not in hidden for name in imported(node, trees(root))]
        graph[module] = set(names) - {module, ""}
    return {module: names for module, names in graph.items() if module not in ("", "__main__")}


def imported(node, modules):
    """The modules that a syntax node imports: the submodule where one is named, and not its package too."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = []
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            names.append(name if name.removeprefix(f"{PACKAGE}.") in modules else node.module)
    else:
        return []
    inner = [name.removeprefix(PACKAGE).removeprefix(".") for name in names if name and name.startswith(PACKAGE)]
    return [name for name in inner if name in modules]


def layer(module):
    for number, members in enumerate(LAYERS):
        if module.split(".")[0] in members:
            return number
    raise AssertionError(f"{module} is in no layer: add it to LAYERS")


def upward_imports(root):
    faults = []
    for module, others in imports(root).items():
        for other in others:
            folder, other_folder = module.split(".")[0], other.split(".")[0]
            if layer(other) > layer(module) or (folder != other_folder and {folder, other_folder} <= APART):
                faults.append(f"{module} imports {other}")
    return faults


def circles(root):
    try:
        TopologicalSorter(imports(root)).prepare()
    except CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def long_functions(root):
    return [
        f"{module}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for module, tree in trees(root).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]


RULES = [upward_imports, circles, long_functions]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule):
    assert rule(ROOT) == []


PLANTED = {
    upward_imports: {"store/runs.py": "from disentangle_bench.runner import run", "runner/run.py": ""},
    circles: {
        "report/a.py": "from disentangle_bench.report import b",
        "report/b.py": "def late():\n    import disentangle_bench.report.a",
    },
    long_functions: {"spec.py": "class A:\n    def f():\n" + "        pass\n" * LONGEST_FUNCTION},
}
FINE = {
    upward_imports: {"runner/run.py": "from disentangle_bench.store.runs import load", "store/runs.py": ""},
    circles: {
        "report/a.py": "from disentangle_bench.report import b",
        "report/b.py": "if TYPE_CHECKING:\n    from disentangle_bench.report import a",
    },
    long_functions: {"spec.py": "class A:\n    def f():\n" + "        pass\n" * (LONGEST_FUNCTION - 1)},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_planted_violation_is_found(rule, tmp_path):
    for name, files in (("planted", PLANTED[rule]), ("fine", FINE[rule])):
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(content)
    assert len(rule(tmp_path / "planted")) == 1
    assert rule(tmp_path / "fine") == []


def test_a_folder_without_a_row_is_refused(tmp_path):
    (tmp_path / "a.py").write_text("from disentangle_bench import b")
    (tmp_path / "b.py").write_text("")
    with pytest.raises(AssertionError, match="is in no layer"):
        upward_imports(tmp_path)


def test_metrics_import_in_one_row_is_found(tmp_path):
    for folder in ("models", "metrics"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("from disentangle_bench.metrics import a")
    assert upward_imports(tmp_path) == ["models.a imports metrics.a"]


def loaded(code, *modules):
    """Which of ``modules`` a fresh interpreter has loaded after ``code``."""
    script = f"import sys\n{code}\nprint([name for name in {modules!r} if name in sys.modules])"
    return ast.literal_eval(subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()[-1])


def test_light_commands_import_nothing_heavy():
    registries = ["models", "datasets", "metrics", "protocols"]
    commands = [["--help"], ["run", "--help"], *(["list", name] for name in registries)]
    code = "from click.testing import CliRunner\nfrom disentangle_bench.cli import main\n"
    code += f"for words in {commands!r}:\n    result = CliRunner().invoke(main, words)\n"
    code += "    assert result.exit_code == 0, result.output\n"
    assert loaded(code, "torch", "sklearn", "matplotlib", "pandas", "numba", "scipy") == []


@pytest.mark.timing
def test_the_command_starts_within_half_a_second_of_processor_time():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", PACKAGE, "list", "models"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_no_torch_where_records_are_read():
    modules = ["spec", "codes", "store.runs", "store.merge", "store.status", "registry", "config.protocols"]
    modules += ["config.baselines", "training.batches", "report", "cli"]
    code = "\n".join(f"import {PACKAGE}.{name}" for name in modules)
    assert loaded(code, "torch") == []


def test_the_only_optimizer_step_is_the_trainers():
    assert [path.name for path in ROOT.rglob("*.py") if "optimizer.step()" in path.read_text()] == ["trainer.py"]
