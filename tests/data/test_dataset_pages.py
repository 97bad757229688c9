"""The pages in docs/datasets say what the cards say."""

import re
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.registry import DATASETS

DOCS = Path(__file__).parents[2] / "docs" / "datasets"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the docs are not in the package")


def page(name):
    path = DOCS / f"{'mpi3d' if name.startswith('mpi3d') else name}.md"
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DATASETS.entries)
def test_a_page_agrees_with_the_card(name):
    card, markdown = DATASETS.load(name).card, page(name)
    assert name in markdown.split("\n## ", 1)[0]
    if name != "mpi3d_real_complex":  # told as a difference to the others
        rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", markdown, flags=re.MULTILINE)
        assert rows == [(f, str(n)) for f, n in zip(card.factor_names, card.factor_sizes, strict=True)]
    assert f"{len(card.grid):,}" in markdown
    for file in card.files:
        for part in (file.name, file.urls[0], file.sha256, file.md5, f"{file.size:,}" if file.size else ""):
            assert part in markdown
    for figure in re.findall(r"\]\((figures/[^)]+)\)", markdown):
        assert (DOCS / figure).is_file()


def test_the_table_of_datasets_is_complete():
    markdown = (DOCS / "index.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[(\w+)\]\(\w+\.md\) \| ([\d,]+) \|", markdown, flags=re.MULTILINE))
    assert rows == {name: f"{len(DATASETS.load(name).card.grid):,}" for name in DATASETS.entries}


def test_links_between_pages_lead_somewhere():
    for path in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([\w/]+\.md)\)", path.read_text(encoding="utf-8")):
            assert (DOCS / link).is_file(), f"{path.name}: {link}"


def test_the_code_of_the_page_on_files_of_your_own_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "custom.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "custom.md", "exec"), {})
    with np.load("data.npz") as file:
        assert file["factors"].shape == (60, 3)
