"""Checkpoints: a run's state on disk, complete or absent, with a checksum that is verified before use.

A file is what ``torch.save`` writes, followed by its SHA-256. torch's own reader does not verify its archive's
checksums: training would continue from a weight with a flipped bit without any warning.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.atomic import atomic_path

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
_DIGEST_BYTES = hashlib.sha256().digest_size

log = logging.getLogger(__name__)


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` as the newest checkpoint in ``folder``; the one before is kept as the previous generation."""
    # Through memory: torch's own writer reports a full disk as an error that cannot be distinguished from others.
    content = io.BytesIO()
    torch.save(state, content)
    current = folder / CHECKPOINT
    with atomic_path(current) as temporary:
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.write(hashlib.sha256(content.getbuffer()).digest())
        # A run killed between the two renames still has the previous generation, which is enough.
        if current.exists():
            current.replace(folder / PREVIOUS)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state in one checkpoint file, on the CPU; only tensors and plain values are ever loaded.

    Raises ``ValueError`` if the checksum does not match, and whatever ``torch.load`` raises for a foreign file.
    """
    content = path.read_bytes()
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its checksum does not fit: the file is damaged")
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state


def checkpoints(folder: Path, run_digest: str, device_type: str, updates: int) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the path and state of each checkpoint in ``folder`` of the run with this digest, newest first.

    A checkpoint that is damaged, belongs to another run, or was made on another kind of device is skipped with a
    warning: training from further back gives the same numbers. After the last of ``updates``, the kind of device no
    longer matters: a run trained on a GPU may be scored elsewhere.
    """
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            state = read_checkpoint(path)
        except Exception as error:  # the exception depends on the damage
            log.warning("%s cannot be read and is skipped: %s", path, error)
            continue
        if state.get("digest") != run_digest:
            log.warning("%s belongs to another run and is skipped", path)
        elif state.get("device") != device_type and state.get("step") != updates:
            # The state of a random generator is only meaningful on its own kind of device.
            log.warning("%s was made on another kind of device and is skipped", path)
        else:
            yield path, state


def discard_checkpoints(folder: Path) -> None:
    """Remove a run's checkpoints."""
    for name in (CHECKPOINT, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
