"""Errors that a user can mend, and how they are worded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LISTED = 10
"""Names that an error lists at most."""

# Control characters, escapes for terminals, line ends, marks that reorder text, halves of characters: no name has them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


class BenchError(Exception):
    """Something the user gave or has cannot be used.

    The message is one line that says what was given, what is allowed and what to do. The command prints it and
    ends with status 2; nobody sees a traceback.
    """


def one_line(text: object) -> str:
    """Return text from a file or a server as one line that is safe for a terminal and in a table."""
    return _CONTROL.sub(" ", str(text)).strip()


def listed(names: Iterable[str], nearest_to: str = "") -> str:
    """Return names for an error: sorted, at most ten, those nearest to a given name first, and how many more."""
    ordered = sorted(names)
    if len(ordered) > LISTED:
        near = difflib.get_close_matches(nearest_to, ordered, n=LISTED, cutoff=0.4) if nearest_to else []
        shown = [*near, *(name for name in ordered[: 2 * LISTED] if name not in near)][:LISTED]
        return f"{', '.join(shown)} and {len(ordered) - LISTED} more"
    return ", ".join(ordered) if ordered else "none"


def unknown(kind: str, given: str, allowed: Iterable[str]) -> BenchError:
    """Return the error for a name that is not in a table: the nearest name, and at most ten of the allowed ones."""
    names = list(allowed)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BenchError(f"unknown {kind} {given!r}.{hint} Allowed: {listed(names, given)}.")
