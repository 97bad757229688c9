"""Code blocks of the README and the documentation run, and links point to something."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from disentangle_bench import __version__
from disentangle_bench.config.grids import expand
from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.config.resolve import resolve
from disentangle_bench.spec import flat

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
README = (ROOT / "README.md").read_text()


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


SNIPPETS = [
    pytest.param("\n".join(blocks(page, "python")), id=str(page.relative_to(ROOT)))
    for page in PAGES
    if blocks(page, "python")
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_python_snippets_run(code, smoke_grid, tmp_path):
    """A page's blocks one after another, in a folder that has a ``results`` folder with runs, as the pages assume."""
    (tmp_path / "results").symlink_to(copy_of(smoke_grid[0], tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def copy_of(folder, tmp_path):
    subprocess.run(["cp", "-r", folder, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


def marked(name):
    """The command under ``<!-- name -->`` in the README."""
    (command,) = re.findall(rf"<!-- {name} -->\n```bash\n(.*?)\n```", README)
    return command


def main_job(tmp_path, protocol):
    """Run the README's main job but for its installation, with another protocol."""
    steps = [shlex.split(step) for step in marked("main job").split(" && ")]
    assert steps[0] == ["pip", "install", "."]
    outputs = []
    for words in steps[1:]:
        assert words[0] == "dbench"
        words = [protocol if word == "quick" else word for word in words[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "disentangle_bench", *words], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    return outputs


def check_main_job(tmp_path, outputs):
    for name in ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae"):
        assert name in outputs[-1]
    assert "leaderboard.md" in outputs[-1]
    assert "report.html" in outputs[-1]
    report = tmp_path / "results" / "quick"
    assert (report / "leaderboard.csv").stat().st_size > 1000
    assert len(list(report.glob("figures/**/*.png"))) > 10


def test_the_main_job(tmp_path):
    """With the smoke protocol, which differs from quick by its size only."""
    command = marked("main job")
    assert "--protocol quick" in command
    assert "--models all" in command
    assert "--seeds 1" in command
    check_main_job(tmp_path, main_job(tmp_path, "smoke"))


@pytest.mark.slow
def test_the_main_job_as_it_stands(tmp_path):
    check_main_job(tmp_path, main_job(tmp_path, "quick"))


def test_the_test_command_is_what_ci_runs():
    assert marked("tests") == 'pip install -e ".[test]" && pytest -n 4'
    assert "\npytest -n 4" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist(page, dbench):
    """Each ``dbench COMMAND`` with options in a code block: the command has these options."""
    code = "\n".join(blocks(page, "bash") + blocks(page, "console")).replace("\\\n", " ")
    for line in code.splitlines():
        for words in re.findall(r"dbench ([^&|#]+)", line):
            command, *rest = shlex.split(words)
            usage = dbench(command, "--help")
            assert usage.returncode == 0, line
            for word in rest:
                if word.startswith("--") and command != "data":
                    assert word.split("=")[0] in usage.stdout, line


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
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("model", sorted(path.stem for path in ROOT.glob("baselines/*.toml")))
def test_every_model_has_a_page(model):
    text = (ROOT / "docs" / "models" / f"{model}.md").read_text()
    for part in ("**Paper.**", "## What it computes", "## Departures"):
        assert part in text


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_a_page_with_every_choice(name):
    """Each value of training and scoring that ``dbench show`` prints, and a reason."""
    text = (ROOT / "docs" / "protocols" / f"{name}.md").read_text()
    for key, value in flat(resolve("beta_vae", "rooms3d", name, 0).spec).items():
        if not key.startswith("model."):
            row = rf"^\| `{re.escape(key)}` \| `{re.escape(str(value))}` \| .{{5,}} \|$"
            assert re.search(row, text, re.MULTILINE), key
    assert f"ersion {PROTOCOLS[name].version}" in text
    assert ("**Ranked" in text) == PROTOCOLS[name].ranked
    assert f"[`{name}`]({name}.md)" in (ROOT / "docs" / "protocols" / "index.md").read_text()


def test_the_figure_of_schedules_can_be_drawn(tmp_path):
    main = runpy.run_path(str(ROOT / "docs" / "protocols" / "figures" / "schedules.py"))["main"]
    main(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 50_000


def test_versions_agree():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
