"""What the documentation site is made of besides the pages in this folder; mkdocs calls the functions named ``on_...``.

Commands come from click, notebooks from their files, CONTRIBUTING and the CHANGELOG from the root; formulas become
MathML, which browsers draw without a script or a network.
"""

from __future__ import annotations

import html
import inspect
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from latex2mathml.converter import convert
from mkdocs.structure.files import File

from disentangle_bench.cli import main
from disentangle_bench.report import write_report
from disentangle_bench.store.runs import load_records

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/disentangle-bench/disentangle-bench/blob/main"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not written by hand."""
    pages = {"reference/commands.md": commands()}
    for name in ("CONTRIBUTING", "CHANGELOG"):
        pages[f"{name.lower()}.md"] = from_root(ROOT / f"{name}.md")
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{path.stem}.md"] = notebook(path)
    pages["results/leaderboard.md"] = leaderboard(ROOT / "docs" / "results" / "leaderboard.md")
    for folder in shipped():
        pages[f"results/{folder.name}.html"] = report_page(folder)
    for name, text in pages.items():
        if existing := files.get_file_from_path(name):
            files.remove(existing)
        files.append(File.generated(config, name, content=text))
    return files


def on_page_content(text: str, page: Any, config: Any, files: Any) -> str:
    """Replace what arithmatex marked as LaTeX with MathML, and let wide tables scroll within the page."""

    def formula(match: re.Match[str]) -> str:
        latex = html.unescape(match["latex"])
        if match["tag"] == "div":  # MathML does not scroll by itself
            return f'<div class="formula">{convert(latex, display="block")}</div>'
        return convert(latex, display="inline")

    pattern = r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>'
    return re.sub(pattern, formula, text, flags=re.DOTALL)


def from_root(path: Path) -> str:
    """A page of the repository's root, with its links seen from ``docs``."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    text = text.replace("](CONTRIBUTING.md)", "](contributing.md)").replace("](CHANGELOG.md)", "](changelog.md)")
    return re.sub(r"\]\((?=(?:disentangle_bench|baselines|tests|results|benchmarks|\.ci)/)", f"]({REPOSITORY}/", text)


def shipped() -> list[Path]:
    """Results folders of the repository whose runs are the leaderboard's."""
    return sorted(ROOT.glob("results/*-cpu"))


def leaderboard(path: Path) -> str:
    """The page of the leaderboard, with the tables of every shipped folder and what its runs cost."""
    parts = []
    for folder in shipped():
        table = (folder / "leaderboard.md").read_text(encoding="utf-8")
        table = table.split("\n## Cite", 1)[0].split("\n## ", 1)[1]
        table = re.sub(r"^#", "##", f"## {table}", flags=re.MULTILINE).replace("### ", "## ", 1)
        title, rest = table.split("\n", 1)
        link = f"[The report, with figures and pictures]({folder.name}.html){{target=_blank}}"
        parts.append(f"{title}\n\n{link}\n{rest}\n### What the runs cost\n\n{costs(folder)}")
    return path.read_text(encoding="utf-8").replace("<!-- tables -->", "\n\n".join(parts))


def costs(folder: Path) -> str:
    """A table of runs, and of hours by device, for each model."""
    hours: dict[tuple[str, str], list[float]] = {}
    for record in load_records(folder):
        environment, seconds = record.content["environment"], record.content["seconds"]
        device = environment.get("device_name") or environment["device"]
        metrics = seconds["metrics"].values()
        row = hours.setdefault((record.spec.model, str(device)), [0, 0.0, 0.0])
        row[0] += 1
        row[1] += (seconds["training"] + seconds["encoding"]) / 3600
        row[2] += sum(metrics) / 3600
    lines = ["| model | device | runs | hours of training | hours of scoring |", "| --- | --- | ---: | ---: | ---: |"]
    for (model, device), (runs, training, scoring) in sorted(hours.items()):
        lines.append(f"| {model} | {device} | {runs} | {training:.2f} | {scoring:.2f} |")
    return "\n".join(lines)


def report_page(folder: Path) -> str:
    """The report's page of a shipped folder, made in a copy."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / folder.name))
        write_report(copy, figures=False, html=True)
        (page,) = copy.glob("*.html")
        return page.read_text(encoding="utf-8")


def commands() -> str:
    """Every command with every option, as its ``--help`` has them."""
    head = "# Commands\n\nEvery command and option, as `dbench COMMAND --help` prints them.\n"
    return head + "".join(command_section("dbench", main))


def command_section(path: str, command: click.Command) -> Iterator[str]:
    """The section of a command, and those of the commands below it."""
    context = click.Context(command, info_name=path)
    yield f"\n## {path}\n\n{plain_help(command)}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from command_section(f"{path} {name}", command.get_command(context, name))
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n```text\n{path} {usage}\n```\n"
    section = None
    for parameter in command.get_params(context):
        row = parameter.get_help_record(context)
        if row and isinstance(parameter, click.Option):  # arguments are in the line above
            if (title := getattr(parameter, "section", "Options")) != section:
                section = title
                yield f"\n**{title}**\n"
            yield f"\n`{row[0]}`\n:   {escaped(row[1])}\n"


def plain_help(command: click.Command) -> str:
    return escaped(inspect.cleandoc(re.sub(r"[\b]\n?", "", command.help or command.short_help or "")))


def escaped(text: str) -> str:
    """Plain text as Markdown: words in capitals with underscores or angle brackets stay what they are."""
    return re.sub(r"([*_<\[\]])", r"\\\1", text)


def notebook(path: Path) -> str:
    """An executed notebook as Markdown: texts, code, and what each cell printed or showed."""
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif source:
            parts.append(f"```python\n{source}\n```")
            parts += [shown for output in cell["outputs"] if (shown := cell_output(output))]
    link = f"[The notebook itself]({REPOSITORY}/docs/notebooks/{path.name}) can be run as it stands."
    return "\n\n".join([*parts, link]) + "\n"


def cell_output(output: dict[str, Any]) -> str:
    """One output of a cell: a picture, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Output of the cell above](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        return '<div class="output" markdown="0">\n' + "".join(data["text/html"]) + "\n</div>"
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() and output.get("name") != "stderr" else ""
