"""disentangle_bench: a fair, versioned benchmark of disentanglement models.

The command is ``dbench``; ``disentangle_bench.metrics`` scores anybody's codes, and
``disentangle_bench.testing`` checks a new model, dataset or metric against the suite's contract.
"""

__version__ = "0.1.0"
