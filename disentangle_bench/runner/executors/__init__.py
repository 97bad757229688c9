"""Executors: ways to get runs done, on this machine or on others. A new one needs a module and a row here.

Importing this imports nothing heavy, because the command needs the names.
"""

from __future__ import annotations

from typing import NamedTuple


class Executor(NamedTuple):
    """An executor's module, and the help of its option ``--NAME KEY=VALUE,...``, empty if it has no settings."""

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
