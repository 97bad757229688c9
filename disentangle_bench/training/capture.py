"""Updates as one CUDA graph: recorded once, then replayed by a single call.

An update of a small network consists of about a hundred short kernels. Launched one by one from Python, they leave a
GPU idle most of the time; a replay launches them all together. The graph holds the forward pass, the backward pass and
Adam, draws from the run's own generator, and reads images, learning rates and the clock from tensors
(``inputs.DeviceInputs``).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from disentangle_bench.errors import BenchError

WARM_UP = 3
"""Number of first updates that run uncaptured, since libraries allocate memory and choose kernels in them."""


class CapturedUpdate:
    """Callable that calls ``compute`` for the first updates, captures it in the next, and replays it from then on.

    Every replay returns the same tensors, which the next replay overwrites.
    """

    def __init__(
        self, compute: Callable[[], dict[str, Tensor]], optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        self._compute, self._optimizer, self._generator = compute, optimizer, generator
        self._graph: torch.cuda.CUDAGraph | None = None
        self._numbers: dict[str, Tensor] = {}
        self._calls = 0

    def __call__(self) -> dict[str, Tensor]:
        """Do one update and return its losses and logs by name."""
        if self._graph is not None:
            self._graph.replay()
            return self._numbers
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._beside(self._compute)
        self._graph = self._capture()
        self._graph.replay()
        return self._numbers

    @staticmethod
    def _beside(compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Call ``compute`` on a separate stream, as torch requires for work that is captured later."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            numbers = compute()
        torch.cuda.current_stream().wait_stream(stream)
        return numbers

    def _capture(self) -> torch.cuda.CUDAGraph:
        self._optimizer.zero_grad(set_to_none=True)  # so that the graph keeps gradients in its own memory
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._numbers = self._compute()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise BenchError(
                f"this model's update cannot be captured as a CUDA graph ({reason}): give --no-capture, or set "
                "capturable = False in the model's class if it needs the host in each update"
            ) from error
        return graph
