"""Markdown, read back."""

from __future__ import annotations

import re


def tables(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text as rows of cells, split where an unescaped pipe is."""
    blocks: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            blocks[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif blocks[-1]:
            blocks.append([])
    return [table for table in blocks if table]
