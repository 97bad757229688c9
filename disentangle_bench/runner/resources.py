"""Resources that the runs of a command may use: decided once, then constant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from disentangle_bench.cores import available
from disentangle_bench.data.files import data_folder
from disentangle_bench.errors import BenchError

MOST_JOBS_PER_CORE = 64
"""Most processes per core that ``jobs`` may ask for: more is probably a typing error, and would overload the machine.
"""


class Resources(BaseModel):
    """Devices, cores, folders and settings that runs use, under any executor.

    ``devices`` are names, comma-separated (``auto``, ``cpu``, ``cuda:0,cuda:1``); in the process of a run it is the one
    device of that run. ``jobs`` is the number of runs at a time: None means one per ``threads`` cores on a CPU and
    ``runs_per_device`` per accelerator (``auto`` is measured, see ``fit``); 0 means one after another in the calling
    process, for debuggers. ``threads`` is the number of CPU threads of a run: results are repeatable for one machine,
    device and number of threads, since sums are split among threads. ``data`` is the folder of the datasets,
    ``trackers`` are names from ``training.trackers``, and ``checkpoint_seconds`` is the time between two checkpoints.
    ``compile`` compiles the networks, and ``capture`` records updates as CUDA graphs where the device and the model
    allow it. ``executor`` is ``local``, ``slurm`` or ``ray``, and ``executor_settings`` is its settings as the text
    ``key=value,...``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: str = "auto"
    jobs: int | None = Field(default=None, ge=0)
    runs_per_device: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    threads: int = Field(default=1, ge=1)
    data: Path = Field(default_factory=data_folder)
    trackers: tuple[str, ...] = ()
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    compile: bool = False
    capture: bool = True
    executor: str = "local"
    executor_settings: str = ""

    def on(self, device: str) -> Resources:
        """Return the same resources for a run on this device."""
        return self.model_copy(update={"devices": device})

    def options(self) -> list[str]:
        """Return the command-line options that give runs the same data and the same bits."""
        return ["--data-dir", str(self.data), *(["--threads", str(self.threads)] if self.threads != 1 else [])]

    def slots(self) -> tuple[str, ...]:
        """Return the devices of this machine for runs, one entry for each run at a time.

        Raises ``BenchError`` for a device that cannot be used, and for more jobs than a machine can take.
        """
        names = [choose_device(name.strip()) for name in self.devices.split(",")]
        most = MOST_JOBS_PER_CORE * available()
        if (self.jobs or 0) > most:
            raise BenchError(f"--jobs {self.jobs} is more than this machine bears: give {most} or fewer")
        if self.jobs is not None:
            count = max(1, self.jobs)
        elif names == ["cpu"]:
            count = max(1, available() // self.threads)
        else:
            names = names * (1 if self.runs_per_device == "auto" else self.runs_per_device)
            count = len(names)
        return tuple(names[i % len(names)] for i in range(count))


def choose_device(name: str) -> str:
    """Return the name of a device that can be used here; ``auto`` is the first CUDA device, else the CPU."""
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    advice = "give auto, cpu, cuda or cuda:1"
    if not re.fullmatch(r"cpu|(cuda|mps|xpu)(:\d{1,3})?", name):
        raise BenchError(f"--device {name!r} is not known: {advice}")
    try:
        torch.empty(1, device=torch.device(name))
    except Exception as error:  # the exception depends on the device and on how torch was built
        reason = " ".join(str(error).split(".")[0].split())
        raise BenchError(f"--device {name!r} cannot be used here ({reason}): {advice}") from error
    return name
