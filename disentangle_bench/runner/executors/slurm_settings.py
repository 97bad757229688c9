"""Settings of the Slurm executor: the keys and values of ``--slurm partition=gpu,time=60``."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disentangle_bench.errors import BenchError, unknown
from disentangle_bench.runner.executors.base import pairs
from disentangle_bench.runner.resources import Resources

MOST_JOBS = 1000

OURS = {
    "array", "error", "job_name", "nodes", "ntasks", "ntasks_per_node", "open_mode", "output", "requeue", "signal",
    "wrap",
}  # fmt: skip
"""Options of sbatch that this executor sets itself."""

SUBMITIT = {
    "account", "comment", "constraint", "cpus_per_gpu", "dependency", "exclude", "exclusive", "gpus_per_node",
    "gpus_per_task", "gres", "mail_type", "mail_user", "mem", "mem_per_cpu", "mem_per_gpu", "nodelist", "partition",
    "qos", "wckey",
}  # fmt: skip
"""Options of sbatch that submitit has parameters for."""

SBATCH = {
    "acctg_freq", "batch", "bb", "bbf", "begin", "chdir", "cluster_constraint", "clusters", "container", "container_id",
    "contiguous", "core_spec", "cores_per_socket", "cpu_freq", "deadline", "delay_boot", "distribution", "export",
    "export_file", "extra", "extra_node_info", "get_user_env", "gid", "gpu_bind", "gpu_freq", "gpus",
    "gpus_per_socket", "gres_flags", "hint", "hold", "ignore_pbs", "input", "kill_on_invalid_dep", "licenses",
    "mcs_label", "mem_bind", "mincpus", "network", "nice", "no_kill", "nodefile", "ntasks_per_core", "ntasks_per_gpu",
    "ntasks_per_socket", "overcommit", "oversubscribe", "power", "prefer", "priority", "profile", "propagate",
    "reboot", "reservation", "segment", "sockets_per_node", "spread_job", "stepmgr", "switches", "thread_spec",
    "threads_per_core", "time_min", "tmp", "tres_bind", "tres_per_task", "uid", "use_min_nodes", "wait_all_nodes",
}  # fmt: skip
"""The other long options that sbatch has (Slurm 22 to 24); they are passed on as they are."""

TIME = r"\d+|(\d+:)?\d+:\d+|\d+-\d+(:\d+){0,2}|UNLIMITED|INFINITE"


class Settings(BaseModel):
    """Settings of a submission.

    ``time`` is the time limit as sbatch takes it: minutes, ``hours:minutes:seconds`` or ``days-hours``; None means the
    partition's limit. A job gets a signal ``signal_delay_s`` seconds before that limit. The queue is checked every
    ``poll`` seconds. At most ``array_parallelism`` jobs of an array run at a time, with ``cpus_per_task`` cores each.
    ``options`` are further options of sbatch, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: str | None = None
    signal_delay_s: int = Field(default=90, gt=0)
    poll: float = Field(default=10.0, gt=0)
    array_parallelism: int = Field(default=MOST_JOBS, gt=0)
    cpus_per_task: int = Field(default=1, gt=0)
    options: dict[str, str] = {}

    def known(self) -> dict[str, Any]:
        """Return submitit's parameters, always with ``time`` and ``wckey``: submitit's defaults for them are not
        Slurm's.
        """
        known: dict[str, Any] = {key: _number(value) for key, value in self.options.items() if key in SUBMITIT}
        names = ("signal_delay_s", "array_parallelism", "cpus_per_task")
        return {"wckey": None, "time": _number(self.time)} | known | {name: getattr(self, name) for name in names}

    def others(self) -> dict[str, Any]:
        """Return the options that are passed to sbatch unchanged."""
        others: dict[str, Any] = {key: _number(v) for key, v in self.options.items() if key not in SUBMITIT}
        # "B:" sends it to the batch shell, which is the run itself. Otherwise only job steps get it; there are none.
        return others | {"signal": f"B:USR2@{self.signal_delay_s}", "requeue": True}


def parse(resources: Resources) -> Settings:
    """Return the settings in ``executor_settings``; raise ``BenchError`` for any that is not understood."""
    if resources.jobs == 0:
        raise BenchError("--jobs 0 does runs in this process: give --executor local with it")
    given = pairs("slurm", resources.executor_settings)
    own = set(Settings.model_fields) - {"options"}
    for key in given:
        if key in OURS:
            raise BenchError(f"--slurm {key}=... is set by dbench: leave it out")
        if key not in own | SUBMITIT | SBATCH:
            raise unknown("key of --slurm", key, own | SUBMITIT | SBATCH)
    fields: dict[str, Any] = {"cpus_per_task": resources.threads, "array_parallelism": resources.jobs or MOST_JOBS}
    fields |= {key: value for key, value in given.items() if key in own}
    try:
        settings = Settings(**fields, options={key: value for key, value in given.items() if key not in own})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise BenchError(f"--slurm {name}={given.get(name)} is not understood: give a number above 0") from error
    _check_time(settings)
    return settings


def _check_time(settings: Settings) -> None:
    time = settings.time
    if time is None:
        return
    if not re.fullmatch(TIME, time):
        raise BenchError(
            f"--slurm time={time} is not understood: give minutes (240), hours:minutes:seconds (4:00:00) or days-hours "
            "(1-12)"
        )
    if time.isdigit() and int(time) * 60 < 2 * settings.signal_delay_s:
        raise BenchError(
            f"--slurm time={time} (minutes) is too short for a job that is told to end {settings.signal_delay_s} s "
            "before: give more time, or a smaller signal_delay_s"
        )


def _number(value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdigit() else value
