"""Errors that a user can mend, and how they are worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Something the user gave or has cannot be used.

    The message is one line that says what was given, what is allowed and what to do. The command prints it and
    ends with status 2; nobody sees a traceback.
    """


def unknown(kind: str, given: str, allowed: Iterable[str]) -> BenchError:
    """The error for a name that is not in a table: suggests the nearest name and lists what is allowed."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return BenchError(f"unknown {kind} {given!r}.{hint} Allowed: {listed}.")
