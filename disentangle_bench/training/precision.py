"""Ways to train faster than in plain float32: lower precision, and compilation. Scoring is always plain float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CPUINFO = Path("/proc/cpuinfo")

SEPARATE_CHANNELS = {("cuda", "fp32")}
"""Devices and precisions whose convolutions are faster on images with separate channels than with channels last."""

log = logging.getLogger(__name__)


def cpu_computes_bfloat16() -> bool | None:
    """Return whether this CPU has instructions for bfloat16 (AMX or AVX-512); None if that is unknown."""
    if not CPUINFO.exists():
        return None
    flags = CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def memory_format(device: torch.device, precision: str) -> torch.memory_format:
    """Return the memory format of images that is fastest on this device in this precision."""
    separate = (device.type, precision) in SEPARATE_CHANNELS
    return torch.contiguous_format if separate else torch.channels_last


def in_bfloat16(model: nn.Module, device: torch.device) -> None:
    """Make the model's networks (its child modules) compute in bfloat16 while they are in training mode.

    Weights stay float32, and so do the networks' outputs and hence losses, codebooks and sums: torch's autocast lowers
    only what is fast on tensor cores. The child modules' ``forward`` is wrapped; nothing else of the model is touched.
    A CPU without instructions for bfloat16 emulates them, which is slower than float32 and is logged.
    """
    if device.type == "cpu" and cpu_computes_bfloat16() is False:
        log.warning("this CPU has no bfloat16 instructions (AMX, AVX-512): --precision bf16 is slower than fp32 here")
    for network in model.children():
        _lower(network, device)


def _lower(network: nn.Module, device: torch.device) -> None:
    forward = network.forward

    def lowered(*inputs: Any) -> Any:
        if not network.training:
            return forward(*inputs)
        with torch.autocast(device.type, torch.bfloat16):
            output = forward(*inputs)
        return output.float() if isinstance(output, Tensor) and output.is_floating_point() else output

    network.forward = lowered


def compiled(model: nn.Module) -> None:
    """Compile the model's networks (its child modules) with torch.compile on their first use."""
    for network in model.children():
        network.compile()


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid rounding CUDA's float32 products to TensorFloat-32 in this context, and restore it afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
