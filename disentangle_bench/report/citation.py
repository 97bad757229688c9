"""How results are cited: the suite's version and a digest that anybody can check."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from disentangle_bench import __version__
from disentangle_bench.errors import one_line

if TYPE_CHECKING:
    from disentangle_bench.store.runs import Record


def digest(results: str) -> str:
    """SHA-256 (hexadecimal) of the text of ``results.csv``: what ``sha256sum results.csv`` prints."""
    return hashlib.sha256(results.encode()).hexdigest()


def versions(records: Sequence[Record]) -> str:
    """The suite's versions that made the runs; this one's if no record says."""
    found = {one_line(record.content.get("package", {}).get("version") or "") for record in records} - {""}
    return ", ".join(sorted(found)) or __version__


def _last_day(records: Sequence[Record]) -> str:
    """The day the last run was finished: a report of the same runs says the same whenever it is made."""
    return max((one_line(record.content.get("finished") or "")[:10] for record in records), default="")


def bibtex(records: Sequence[Record], sha256: str) -> str:
    """A BibTeX entry for these results."""
    version = "".join(letter for letter in versions(records) if letter.isalnum() or letter in " .,+-")
    year = _last_day(records)[:4]
    lines = [
        f"@misc{{disentangle_bench_{sha256[:8]},",
        f"  title = {{disentangle-bench: results of {len(records)} runs}},",
        "  author = {{The disentangle-bench developers}},",
        *([f"  year = {{{year}}},"] if year.isdigit() else []),
        f"  note = {{disentangle-bench {version}; SHA-256 of results.csv: {sha256}}},",
        "}",
    ]
    return "\n".join(lines) + "\n"


def cff(records: Sequence[Record], sha256: str) -> str:
    """A ``CITATION.cff`` (Citation File Format 1.2.0) for these results. The values are quoted as YAML strings."""
    version = versions(records).replace("\\", "").replace('"', "")
    day = _last_day(records)
    released = [f'date-released: "{day}"'] if len(day) == 10 and day.replace("-", "").isdigit() else []
    lines = [
        "cff-version: 1.2.0",
        'message: "If you use these numbers, please cite them as below."',
        "type: dataset",
        f'title: "disentangle-bench: results of {len(records)} runs"',
        "authors:",
        '  - name: "The disentangle-bench developers"',
        f'version: "{version}"',
        *released,
        "identifiers:",
        "  - type: other",
        f'    value: "sha256:{sha256}"',
        '    description: "SHA-256 of results.csv"',
    ]
    return "\n".join(lines) + "\n"
