"""Settings of a process that make numbers repeatable, and facts about its machine that records keep."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from disentangle_bench.cores import limited
from disentangle_bench.errors import BenchError
from disentangle_bench.store.files import SCHEMA, read_json, write_json

PARTS = "parts.json"
"""File in the folder of an unfinished run: the environments in which it has been trained so far."""

log = logging.getLogger(__name__)


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Make the process compute the same bits for the same spec, and quickly; restore torch's settings afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    uninitialized: Any = torch.utils.deterministic
    filling, benchmark = uninitialized.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    uninitialized.fill_uninitialized_memory = False  # meant for torch's own tests; costs time
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    try:
        with limited(threads), threadpool_limits(threads), _freed_memory_kept():
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        uninitialized.fill_uninitialized_memory, torch.backends.cudnn.benchmark = filling, benchmark


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""Largest threshold that glibc accepts."""


@contextmanager
def _freed_memory_kept() -> Iterator[None]:
    """Let glibc keep freed memory in the ``with`` block, and return it to the system afterwards.

    By default it returns the memory of large tensors at once and takes new, empty pages in the next update. On a CPU
    that costs a fifth of an update's time (docs/speed.md). Other C libraries are left alone.
    """
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.malloc_trim(0)


def environment(device: torch.device) -> dict[str, Any]:
    """Return the versions and the hardware on which a run's numbers depend."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
    }


def note_part(folder: Path, step: int, used: dict[str, Any]) -> list[dict[str, Any]]:
    """Note in a run's folder that training continues from update ``step`` in the environment ``used``; return all parts
    of the run, each with its first update.

    A run resumed with another number of threads or on another machine has the bits of neither environment, so the
    record lists all parts.
    """
    parts: list[dict[str, Any]] = []
    if step > 0:
        with contextlib.suppress(OSError, BenchError, KeyError, TypeError):
            parts = [part for part in read_json(folder / PARTS)["parts"] if part["from_update"] < step]
    last = {key: value for key, value in parts[-1].items() if key != "from_update"} if parts else {}
    if last != used:
        changed = ", ".join(f"{key} {last.get(key)} -> {used[key]}" for key in used if last.get(key) != used[key])
        if parts:
            log.warning("%s is resumed in another environment (%s): its numbers are neither's", folder.name, changed)
        parts.append({"from_update": step, **used})
        write_json(folder / PARTS, {"schema": SCHEMA, "parts": parts})
    return parts


def _processor() -> str:
    """Return the processor's name, or its architecture where the system does not report the name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory() -> int | None:
    """Return the most memory that this process held, in bytes; None where the system does not report it."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage reports the parent's peak if that was higher
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_device_memory(device: torch.device) -> int | None:
    """Return the most memory that this process held on a CUDA device, in bytes; None elsewhere."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout that the package lies in, with ``+`` if files differ from it.

    In an archive of the checkout it is the commit that git wrote there; an installed package has None, and so has a
    checkout where git fails.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        archived = root / ".git_archival.txt"
        name = archived.read_text(encoding="utf-8").strip() if archived.exists() else ""
        return name if re.fullmatch("[0-9a-f]{40}", name) else None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
