"""Executors: ways to get runs done, on this machine or on others. Adding one is a file and a row here.

Importing this imports nothing heavy, so that the command knows the names.
"""

from __future__ import annotations

from typing import NamedTuple


class Executor(NamedTuple):
    """An executor's module, and the help of its option ``--NAME KEY=VALUE,...``; one without settings has no help."""

    module: str
    settings: str = ""


EXECUTORS = {
    "local": Executor("disentangle_bench.runner.executors.local"),
    "slurm": Executor(
        "disentangle_bench.runner.executors.slurm", "Job settings for Slurm: partition=...,time=60,gres=gpu:1."
    ),
    "ray": Executor(
        "disentangle_bench.runner.executors.ray",
        "Cluster for Ray: address=HOST:PORT.  [default: start one on this machine]",
    ),
}
"""Executors by the name that ``--executor`` takes."""
