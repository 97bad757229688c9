"""Where datasets are kept on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from disentangle_bench.errors import BenchError

VARIABLE = "DBENCH_DATA"
"""The environment variable that names the data folder."""


def data_folder(given: str | Path | None = None) -> Path:
    """The folder of datasets: ``given``, else $DBENCH_DATA, else the user's cache folder; made if it is absent.

    Raises ``BenchError`` if it cannot be made or written.
    """
    folder = Path(
        given or os.environ.get(VARIABLE) or platformdirs.user_cache_path("disentangle-bench", appauthor=False)
    )
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Trying is the only sure test: permission bits say nothing of full or read-only disks, nor to root.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(
            f"the data folder {folder} cannot be written ({reason}); give another folder, or set {VARIABLE} to one."
        ) from error
    return folder
