"""Writes the tables of modules in ``design.md`` from the modules' docstrings.

python docs/tree.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent / "disentangle_bench"
PAGE = Path(__file__).parent / "design.md"
FOLDERS = (
    ".", "data", "models", "models/networks", "metrics", "config", "training", "store", "scoring",
    "runner", "runner/executors", "report", "report/tables", "report/figures", "report/page", "api", "cli",
)  # fmt: skip
"""Folders in the order of the pipeline."""


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    paragraph = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    text = re.split(r"(?<=[.])\s+(?=[A-Z`])", " ".join(paragraph.split()))[0]
    return text.rstrip(".").replace("``", "`").replace("|", "\\|")


def tree() -> str:
    """A table per folder, a row per module."""
    folders = sorted({path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")}, key=FOLDERS.index)
    parts = []
    for folder in folders:
        modules = [path for path in sorted((ROOT / folder).glob("*.py")) if path.name != "__init__.py"]
        title = "The root" if folder == "." else f"{folder}/"
        parts.append(
            f"### {title}\n\n{summary(ROOT / folder / '__init__.py')}.\n\n| Module | What it is |\n| --- | --- |"
        )
        parts[-1] += "".join(f"\n| `{path.relative_to(ROOT).as_posix()}` | {summary(path)} |" for path in modules)
    return "\n\n".join(parts)


def page(text: str) -> str:
    """The page's text with its tables of modules written anew."""
    before, rest = text.split("<!-- tree -->\n", 1)
    return f"{before}<!-- tree -->\n\n{tree()}\n\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
