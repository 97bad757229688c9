"""Errors that a user can fix, and the wording of their messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LISTED = 10
"""Largest number of names that an error lists."""

# Control characters, terminal escapes, line ends, marks that reorder text, lone surrogates: no name has them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


class BenchError(Exception):
    """Error: something that the user gave or has cannot be used.

    The message is one line that says what was given, what is allowed and what to do. The command prints it and ends
    with status 2, without a traceback.
    """


@contextmanager
def torch_needed() -> Iterator[None]:
    """Raise ``BenchError`` if the code inside needs PyTorch or safetensors and that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise BenchError("this needs PyTorch, which is not installed here: pip install torch safetensors") from error


def extra(name: str) -> str:
    """Return the command that installs what an extra of this package needs, for an error message."""
    return f"pip install '.[{name}]' in the checkout of disentangle-bench"


def one_line(text: object) -> str:
    """Return text from a file or a server as one line that is safe for a terminal and in a table."""
    return _CONTROL.sub(" ", str(text)).strip()


def listed(names: Iterable[str], nearest_to: str = "") -> str:
    """Return names for an error message: at most ten, and how many more.

    They are sorted; of more than ten, those nearest to a given name come first.
    """
    ordered = sorted(names)
    if len(ordered) > LISTED:
        near = _nearest(nearest_to, ordered, cutoff=0.4) if nearest_to else []
        shown = [*near, *(name for name in ordered[: 2 * LISTED] if name not in near)][:LISTED]
        return f"{', '.join(shown)} and {len(ordered) - LISTED} more"
    return ", ".join(ordered) if ordered else "none"


def _nearest(given: str, names: Iterable[str], cutoff: float) -> list[str]:
    """Return at most ten names like ``given``, nearest first; ``training.lr`` is like ``training.learning_rate``."""
    ordered = list(names)
    group, _, last = given.rpartition(".")

    def is_short(name: str) -> bool:
        own_group, _, own = name.rpartition(".")
        return bool(last) and group in ("", own_group) and last in (own, _initials(own))

    short = [name for name in ordered if is_short(name)]
    close = difflib.get_close_matches(given, ordered, n=LISTED, cutoff=cutoff)
    return [*short, *(name for name in close if name not in short)][:LISTED]


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_"))


def unknown(kind: str, given: str, allowed: Iterable[str]) -> BenchError:
    """Return the error for a name that is not in a table; it has the nearest name and at most ten allowed ones."""
    names = list(allowed)
    near = _nearest(given, names, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    shown = given if len(given) <= 60 else f"{given[:60]} ..."
    return BenchError(f"unknown {kind} {shown!r}.{hint} Allowed: {listed(names, given)}.")
