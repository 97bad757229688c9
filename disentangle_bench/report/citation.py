"""Cite results by the suite's version and by a digest that anybody can check."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from disentangle_bench import __version__
from disentangle_bench.errors import one_line

if TYPE_CHECKING:
    from disentangle_bench.store.runs import Record


def digest(results: str) -> str:
    """Return the SHA-256 (hexadecimal) of the text of ``results.csv``, as ``sha256sum results.csv`` prints it."""
    return hashlib.sha256(results.encode()).hexdigest()


def versions(records: Sequence[Record]) -> str:
    """Return the versions of the suite that made the runs, or this version if no record names one."""
    package_versions = {one_line(record.content.get("package", {}).get("version") or "") for record in records} - {""}
    return ", ".join(sorted(package_versions)) or __version__


def _last_day(records: Sequence[Record]) -> str:
    """Return the day on which the last run finished, so that the same runs always give the same report."""
    return max((one_line(record.content.get("finished") or "")[:10] for record in records), default="")


@dataclass(frozen=True)
class Credit:
    """The title and authors to cite the results under; by default the suite's."""

    title: str = ""
    authors: tuple[str, ...] = ()

    def named(self, runs: int) -> tuple[str, tuple[str, ...]]:
        """Return the title, and the authors' names, each on one line."""
        title = one_line(self.title) or f"disentangle-bench: results of {runs} runs"
        return title, tuple(map(one_line, self.authors)) or ("The disentangle-bench developers",)


SUITE = Credit()


def bibtex(records: Sequence[Record], sha256: str, credit: Credit = SUITE) -> str:
    """Return a BibTeX entry for these results."""
    title, authors = credit.named(len(records))
    # Braces stop BibTeX from splitting an institution's name. "Surname, Name" needs none.
    names = " and ".join(f"{{{_plain(name)}}}" if "," not in name else _plain(name) for name in authors)
    version = "".join(letter for letter in versions(records) if letter.isalnum() or letter in " .,+-")
    year = _last_day(records)[:4]
    lines = [
        f"@misc{{disentangle_bench_{sha256[:8]},",
        f"  title = {{{_plain(title)}}},",
        f"  author = {{{names}}},",
        *([f"  year = {{{year}}},"] if year.isdigit() else []),
        f"  note = {{disentangle-bench {version}; SHA-256 of results.csv: {sha256}}},",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return re.sub(r"[{}\\\\]", "", text)


def cff(records: Sequence[Record], sha256: str, credit: Credit = SUITE) -> str:
    """Return a ``CITATION.cff`` (Citation File Format 1.2.0) for these results, its values as quoted YAML strings."""
    title, authors = credit.named(len(records))
    version = versions(records).replace("\\", "").replace('"', "")
    day = _last_day(records)
    released = [f'date-released: "{day}"'] if len(day) == 10 and day.replace("-", "").isdigit() else []
    lines = [
        "cff-version: 1.2.0",
        'message: "If you use these numbers, please cite them as below."',
        "type: dataset",
        f"title: {_quoted(title)}",
        "authors:",
        *(line for name in authors for line in _person(name)),
        f'version: "{version}"',
        *released,
        "identifiers:",
        "  - type: other",
        f'    value: "sha256:{sha256}"',
        '    description: "SHA-256 of results.csv"',
    ]
    return "\n".join(lines) + "\n"


def _person(name: str) -> list[str]:
    family, comma, given_names = name.partition(",")
    if not comma:
        return [f"  - name: {_quoted(name)}"]
    return [f"  - family-names: {_quoted(family.strip())}", f"    given-names: {_quoted(given_names.strip())}"]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
