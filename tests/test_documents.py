"""Code blocks of the README and the documentation run, and links point to something."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import click
import pytest
import yaml

from disentangle_bench import __version__
from disentangle_bench.cli import main
from disentangle_bench.config.grids import expand
from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.config.resolve import resolve
from disentangle_bench.report import write_report
from disentangle_bench.spec import flat
from support.invoke import in_subprocess

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
MADE = {"reference/commands.md", "contributing.md", "changelog.md"}
"""Pages that docs/pages.py makes when the site is built."""
README = (ROOT / "README.md").read_text()

LONG_SECONDS = 1200
"""The longest that a command of the main job or the first hour may take."""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


SLOW_PAGES = ["docs/running.md"]
"""Pages whose Python blocks train in another process."""
SNIPPETS = [
    pytest.param("\n".join(blocks(page, "python")), id=name, marks=[pytest.mark.slow] if name in SLOW_PAGES else [])
    for page in PAGES
    for name in [str(page.relative_to(ROOT))]
    if blocks(page, "python")
]


@pytest.fixture(scope="module")
def results(smoke_grid, tmp_path_factory):
    """A folder with a ``results`` folder that has runs and tables, as the pages assume; pages may write into it."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(smoke_grid[0], folder / "results")
    write_report(folder / "results", figures=False)
    return folder


@pytest.mark.parametrize("code", SNIPPETS)
def test_python_snippets_run(code, results, monkeypatch):
    """A page's blocks one after another."""
    monkeypatch.chdir(results)
    exec(compile(code, "page", "exec"), {"__name__": "__main__"})


def marked(name):
    """The command under ``<!-- name -->`` in the README."""
    (command,) = re.findall(rf"<!-- {name} -->\n```bash\n(.*?)\n```", README)
    return command


def main_job(folder):
    """Run the README's main job in ``folder``, but for its installation; return what each command printed."""
    command = marked("main job")
    assert "--protocol quick" in command
    assert "--models all" in command
    assert "--seeds 1" in command
    steps = [shlex.split(step) for step in command.split(" && ")]
    assert steps[0] == ["pip", "install", "."]
    outputs = []
    for step in steps[1:]:
        assert step[0] == "dbench"
        result = in_subprocess(step[1:], {}, folder, seconds=LONG_SECONDS)
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)
    return outputs


def check_main_job(tmp_path, outputs):
    for name in ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"):
        assert name in outputs[-1]
    assert "leaderboard.md" in outputs[-1]
    assert "report.html" in outputs[-1]
    report = tmp_path / "results" / "quick"
    assert (report / "leaderboard.csv").stat().st_size > 1000
    assert len(list(report.glob("figures/**/*.png"))) > 10


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder in which the main job was run as it stands, and what it printed."""
    folder = tmp_path_factory.mktemp("main_job")
    return folder, main_job(folder)


@pytest.mark.slow
def test_the_main_job_as_it_stands(quick):
    check_main_job(*quick)


def test_the_test_command_is_what_ci_runs():
    assert marked("tests") == 'pip install -e ".[test]" && pytest -n 4'
    assert "\npytest -n 4" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist(page):
    """Each ``dbench COMMAND`` with options in a code block: the command has these options."""
    code = "\n".join(blocks(page, "bash") + blocks(page, "console")).replace("\\\n", " ")
    for line in code.splitlines():
        for arguments in re.findall(r"dbench ([^&|#]+)", line):
            command = main
            for word in (rest := shlex.split(arguments)):
                if isinstance(command, click.Group):
                    command = command.get_command(click.Context(command), word)
                    assert command is not None, line
            option_names = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            for word in rest:
                if word.startswith("--"):
                    assert word.split("=")[0] in option_names, line


@pytest.mark.slow
def test_the_first_hour_as_it_stands(quick, tmp_path):
    """The marked commands of the page, one after another; the runs of the first are those of the main job."""
    shutil.copytree(quick[0] / "results" / "quick" / "runs", tmp_path / "results" / "first" / "runs")
    markdown = (ROOT / "docs" / "first_hour.md").read_text()
    for command in re.findall(r"<!-- walk -->\n```bash\n(.*?)\n```", markdown):
        result = in_subprocess(shlex.split(command)[1:], {}, tmp_path, seconds=LONG_SECONDS)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "results" / "first" / "report.html").exists()


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags stand for."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def leaves(menu):
    for entry in menu if isinstance(menu, list) else menu.values():
        if isinstance(entry, str):
            yield entry
        else:
            yield from leaves(entry)


def test_every_page_is_in_the_menu_once():
    menu_pages = sorted(leaves(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]))
    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    notebooks = {f"notebooks/{path.stem}.md" for path in ROOT.glob("docs/notebooks/*.ipynb")}
    assert menu_pages == sorted(pages | MADE | notebooks)


GRIDS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "toml"))
    if "[grid]" in block
]


@pytest.mark.parametrize("block", GRIDS)
def test_grids_in_pages_expand(block, tmp_path):
    path = tmp_path / "ablation.toml"
    path.write_text(block)
    assert len(expand("factor_qvae", "rooms3d", "1", "smoke", (), path)) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_to_files(page):
    markdown = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", markdown):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists() or str(Path(target)).removeprefix("../") in MADE, target


@pytest.mark.parametrize("model", sorted(path.stem for path in ROOT.glob("baselines/*.toml")))
def test_every_model_has_a_page(model):
    markdown = (ROOT / "docs" / "models" / f"{model}.md").read_text()
    for part in ("**Paper.**", "## What it computes", "## Departures"):
        assert part in markdown


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_a_page_with_every_choice(name):
    """Each value of training and scoring that ``dbench show`` prints, and a reason."""
    markdown = (ROOT / "docs" / "protocols" / f"{name}.md").read_text()
    for key, value in flat(resolve("beta_vae", "rooms3d", name, 0).spec).items():
        if not key.startswith("model."):
            row = rf"^\| `{re.escape(key)}` \| `{re.escape(str(value))}` \| .{{5,}} \|$"
            assert re.search(row, markdown, re.MULTILINE), key
    assert f"ersion {PROTOCOLS[name].version}" in markdown
    assert ("**Ranked" in markdown) == PROTOCOLS[name].ranked
    assert f"[`{name}`]({name}.md)" in (ROOT / "docs" / "protocols" / "index.md").read_text()


def test_the_figure_of_schedules_can_be_drawn(tmp_path):
    main = runpy.run_path(str(ROOT / "docs" / "protocols" / "figures" / "schedules.py"))["main"]
    main(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 50_000


def test_the_design_shows_every_module():
    markdown = (ROOT / "docs" / "design.md").read_text()
    assert runpy.run_path(str(ROOT / "docs" / "tree.py"))["page"](markdown) == markdown, "run python docs/tree.py"
    for path in ROOT.glob("disentangle_bench/**/[!_]*.py"):
        assert f"| `{path.relative_to(ROOT / 'disentangle_bench').as_posix()}` |" in markdown


def test_versions_agree():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
