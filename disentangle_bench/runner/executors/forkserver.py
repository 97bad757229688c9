"""Imported by the process that runs are forked from, and by nothing else: torch is there, and SIGTERM does not end it.

A scheduler that ends a command signals its whole process group. If the server died of it, nobody could wait for the
runs any more while they write their checkpoints. It ends when the command does.
"""

import signal

import disentangle_bench.runner.attempt  # noqa: F401  what every run needs

signal.signal(signal.SIGTERM, signal.SIG_IGN)
