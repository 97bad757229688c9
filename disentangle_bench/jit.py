"""Compile kernels with numba and keep the machine code where this machine allows it.

numba writes beside the source file or into the user's cache. Where it can write to neither, as in a container, it would
refuse to compile, so the data folder, a temporary folder or no folder at all is used instead.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(**options: Any) -> Callable[[Function], Function]:
    """Return ``numba.njit`` with these options and a cache."""

    def decorate(function: Function) -> Function:
        for folder in _folders():
            config.CACHE_DIR = folder  # type: ignore[attr-defined]
            try:
                compiled: Function = numba.njit(cache=True, **options)(function)
                return compiled
            except RuntimeError:  # "cannot cache function: no locator available"
                continue
        config.CACHE_DIR = ""  # type: ignore[attr-defined]
        uncached: Function = numba.njit(**options)(function)
        return uncached

    return decorate


def _folders() -> Iterator[str]:
    """Yield the folders to try: numba's own choice, then others that belong to the user alone."""
    yield config.CACHE_DIR  # type: ignore[attr-defined]
    for parent in filter(None, [os.environ.get("DBENCH_DATA"), tempfile.gettempdir()]):
        user = os.getuid() if hasattr(os, "getuid") else None
        folder = Path(parent) / f"dbench-numba-{user}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            state = folder.lstat()
        except OSError:
            continue
        # numba unpickles the files in the folder: nobody else may have written them.
        mine = user is None or (state.st_uid == user and not state.st_mode & 0o022)
        if stat.S_ISDIR(state.st_mode) and mine:
            yield str(folder)
