"""A file to download, and a download that has to fail."""

import dataclasses
import hashlib

import numpy as np
import pytest

from disentangle_bench.data.download import fetch
from disentangle_bench.errors import BenchError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def unknown(file):
    """The same file, with nothing known of it."""
    return dataclasses.replace(file, size=None, sha256="")


def refused(file, folder, *parts):
    """Download, which has to fail with one line that has these words, and leave no file."""
    with pytest.raises(BenchError) as error:
        fetch(file, folder, "some")
    message = str(error.value)
    assert "\n" not in message
    for part in (*parts, str(folder), "dbench data add some FILE", "rooms3d"):
        assert part in message
    assert not (folder / file.name).exists()
    return message
