"""Speed of updates on one device, as JSON lines that are written as they come: ``benchmarks/gpu.sh`` calls this.

    python benchmarks/gpu.py updates --device cuda --out speed.jsonl
    python benchmarks/gpu.py shared --device cuda --out speed.jsonl
    python benchmarks/gpu.py layouts --device cuda --out speed.jsonl

``updates`` measures milliseconds per update: the six models on ``conv64`` with 64 images and on ``residual`` with 256,
in each precision, captured and not, beside a bare PyTorch loop of the same network, and with it the share of the
card's bf16 peak. ``shared`` measures updates per second of several runs on one device. ``layouts`` asks which memory
format, and which of cuDNN's algorithms, are fastest for each network and precision, and names the slowest kernels.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils.flop_counter import FlopCounterMode

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.files import data_folder
from disentangle_bench.models.networks import lay_out
from disentangle_bench.registry import MODELS, dataset_class
from disentangle_bench.runner.attempt import repeatable
from disentangle_bench.training.precision import tf32
from disentangle_bench.training.trainer import Trainer, build_optimizer, to_float

NETWORKS = {"conv64": 64, "residual": 256}
"""Networks, and the images per update that the protocols give them."""

BLOCKS = 3
PEAK_SIDE = 8192


def write(out: Path, **row: Any) -> None:
    """Append a row and print it."""
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **row})
    with out.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(update: Any, device: torch.device, seconds: float) -> float:
    """Milliseconds of one update: the median of blocks of updates, whose launches may run ahead of the device."""
    for _ in range(6):  # a captured update is recorded in its fourth
        update()
    synchronise(device)
    began = time.perf_counter()
    update()
    synchronise(device)
    count = max(2, int(seconds / BLOCKS / (time.perf_counter() - began)))
    blocks = []
    for _ in range(BLOCKS):
        began = time.perf_counter()
        for _ in range(count):
            update()
        synchronise(device)
        blocks.append(1e3 * (time.perf_counter() - began) / count)
    return statistics.median(blocks)


def spec_of(model: str, network: str, precision: str, tiny: bool) -> Any:
    batch = 4 if tiny else NETWORKS[network]
    words = [f"training.network={network}", f"training.batch_size={batch}", f"training.precision={precision}"]
    return resolve(model, "rooms3d", "cpu", 0, words).spec


def bare_loop(trainer: Trainer, precision: str) -> Any:
    """An update of the beta-VAE's network as one would write it by hand, on images that lie ready on the device."""
    model, device = trainer.model, trainer.generator.device
    x = to_float(trainer.images(trainer.stream.batch(0)))
    optimizer = build_optimizer(model, trainer.spec.training)

    def update() -> None:
        with tf32(precision == "tf32"), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            mean, log_variance = model.encoder(x).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
            loss = torch.nn.functional.mse_loss(model.decoder(z).float(), x) + 1e-4 * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def peak_flops(device: torch.device) -> float:
    """Floating-point operations per second of a large bf16 product of random matrices: what the card reaches."""
    side = PEAK_SIDE if device.type == "cuda" else 512
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / (1e-3 * milliseconds(lambda: a @ b, device, 0.5))


def operations(trainer: Trainer) -> int:
    """Floating-point operations of one update, forwards and backwards, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        trainer.update()
    return counter.get_total_flops()


@click.group()
def main() -> None:
    """Measure updates on one device."""


OPTIONS = (
    click.option("--device", default="cuda", show_default=True),
    click.option("--out", type=click.Path(path_type=Path), default=Path("speed.jsonl"), show_default=True),
    click.option("--tiny", is_flag=True, help="A test of the script: few images, few updates."),
)


def with_options(command: Any) -> Any:
    for option in OPTIONS:
        command = option(command)
    return command


def cases(device: torch.device, tiny: bool) -> list[tuple[str, str, str, bool, bool]]:
    """Model, network, precision, captured and compiled; what matters most comes first."""
    models = ["beta_vae", "factor_qvae"] if tiny else MODELS.names("all")
    networks = ["conv64"] if tiny else list(NETWORKS)
    captured = [False] if device.type != "cuda" else [False, True]
    rows = [(m, n, "bf16" if n == "residual" else "fp32", c, False) for n in networks for m in models for c in captured]
    rows += [("beta_vae", n, p, c, False) for n in networks for p in ("fp32", "tf32", "bf16") for c in captured]
    rows += [("factor_qvae", "conv64", p, c, False) for p in ("tf32", "bf16") for c in captured]
    if not tiny:
        rows += [("beta_vae", n, "bf16" if n == "residual" else "fp32", c, True) for n in networks for c in captured]
    return list(dict.fromkeys(rows))


@main.command()
@with_options
def updates(device: str, out: Path, tiny: bool) -> None:
    """Measure milliseconds per update."""
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"
    common = {"kind": "update", "device": name, "torch": torch.__version__}
    dataset = dataset_class("rooms3d").load(data_folder(None))
    seconds = 0.2 if tiny else 1.0
    with repeatable(1):
        peak = peak_flops(where)
        write(out, kind="peak", device=name, bf16_tflops=peak / 1e12)
        for network in ["conv64"] if tiny else NETWORKS:
            for precision in ("fp32", "bf16"):
                trainer = Trainer(spec_of("beta_vae", network, "fp32", tiny), dataset, where)
                ms = milliseconds(bare_loop(trainer, precision), where, seconds)
                write(out, **common, model="bare loop", network=network, precision=precision, ms=ms)
        for model, network, precision, capture, compile in cases(where, tiny):
            row = {"model": model, "network": network, "precision": precision, "captured": capture, "compiled": compile}
            try:
                trainer = Trainer(
                    spec_of(model, network, precision, tiny), dataset, where, capture=capture, compile=compile
                )
                flops = operations(trainer) if network == "residual" and not capture and not compile else None
                ms = milliseconds(trainer.update, where, seconds)
            except Exception as error:  # one case that fails must not hide the others
                write(out, **common, **row, error=f"{type(error).__name__}: {error}"[:500])
                continue
            share = None if flops is None else flops / (1e-3 * ms) / peak
            write(
                out,
                **common,
                **row,
                ms=ms,
                images_per_second=1e3 * trainer.spec.training.batch_size / ms,
                flops=flops,
                share_of_peak=share,
            )


def _runs(device: str, tiny: bool, count: int, barrier: Any, seconds: Any) -> None:
    where = torch.device(device)
    dataset = dataset_class("rooms3d").load(data_folder(None))
    with repeatable(1):
        trainer = Trainer(spec_of("beta_vae", "conv64", "fp32", tiny), dataset, where, capture=where.type == "cuda")
        for _ in range(10):
            trainer.update()
        synchronise(where)
        barrier.wait()
        began = time.perf_counter()
        for _ in range(count):
            trainer.update()
        synchronise(where)
        seconds.put(time.perf_counter() - began)


@main.command()
@with_options
def shared(device: str, out: Path, tiny: bool) -> None:
    """Measure updates per second, in all, of 1, 2, 4 and 8 runs on one device."""
    context = multiprocessing.get_context("spawn")
    count = 3 if tiny else 1500
    for runs in (1, 2) if tiny else (1, 2, 4, 8):
        barrier, seconds = context.Barrier(runs), context.Queue()
        processes = [context.Process(target=_runs, args=(device, tiny, count, barrier, seconds)) for _ in range(runs)]
        for process in processes:
            process.start()
        longest = max(seconds.get(timeout=120) for _ in processes)
        for process in processes:
            process.join()
        write(out, kind="shared", runs=runs, updates_per_second=runs * count / longest)


def with_layout(trainer: Trainer, memory_format: torch.memory_format) -> Trainer:
    """Put weights, images and the decoder's maps of a new trainer into one memory format."""
    lay_out(trainer.model, memory_format)
    trainer.memory_format = memory_format
    return trainer


def kernels(trainer: Trainer, device: torch.device, most: int = 8) -> list[dict[str, Any]]:
    """The kernels that take longest in one update: name, calls and milliseconds."""
    activity = torch.profiler.ProfilerActivity.CUDA if device.type == "cuda" else torch.profiler.ProfilerActivity.CPU
    trainer.update()
    with torch.profiler.profile(activities=[activity]) as profile:
        trainer.update()
        synchronise(device)
    rows = [(event.device_time_total or event.cpu_time_total, event) for event in profile.key_averages()]
    rows.sort(key=lambda row: -row[0])
    return [{"kernel": event.key[:100], "calls": event.count, "ms": time / 1e3} for time, event in rows[:most]]


@main.command()
@with_options
def layouts(device: str, out: Path, tiny: bool) -> None:
    """Compare memory formats and cuDNN's choices of algorithms."""
    where = torch.device(device)
    dataset = dataset_class("rooms3d").load(data_folder(None))
    formats = {"channels last": torch.channels_last, "separate channels": torch.contiguous_format}
    rows = [("conv64", "fp32"), ("residual", "bf16"), ("conv64", "bf16"), ("conv64", "tf32"), ("residual", "tf32")]
    for network, precision in rows[:1] if tiny else rows:
        for name, memory_format in formats.items():
            for deterministic, search in [(True, False)] if tiny else [(True, False), (True, True), (False, True)]:
                with repeatable(1):
                    torch.use_deterministic_algorithms(deterministic)
                    torch.backends.cudnn.benchmark = search
                    spec = spec_of("beta_vae", network, precision, tiny)
                    capture = where.type == "cuda" and network == "conv64"
                    trainer = with_layout(Trainer(spec, dataset, where, capture=capture), memory_format)
                    ms = milliseconds(trainer.update, where, 0.2 if tiny else 0.6)
                    slowest = kernels(with_layout(Trainer(spec, dataset, where), memory_format), where)
                row = {"network": network, "precision": precision, "memory_format": name}
                write(out, kind="layout", **row, deterministic=deterministic, search=search, ms=ms, slowest=slowest)


if __name__ == "__main__":
    main()
