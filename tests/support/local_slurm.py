"""A real Slurm of one node on this machine, for tests: munged, slurmctld and slurmd, with all state in one folder.

Installs nothing and listens on the loopback address only, on ports of its own, so several can run at a time. Needs root
and Debian's packages slurm-wlm and munge.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CONF = """\
ClusterName=dbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if one can."""
    programs = [name for name in ("munged", "slurmctld", "slurmd") if not _program(name)]
    if programs:
        return f"not installed: {', '.join(programs)} (Debian: apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons must be started as root"


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


class LocalSlurm:
    """The daemons, between ``start`` and ``stop``; ``environment`` leads Slurm's commands to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and wait until the node can take jobs."""
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(parents=True)
        controller, node = _free_ports(2)
        values = {"host": socket.gethostname().partition(".")[0], "cpus": os.cpu_count(), "folder": self.folder}
        (self.folder / "slurm.conf").write_text(CONF.format(controller=controller, node=node, **values))
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={self.folder / 'munge' / name}" for option, name in files.items()]
        self._spawn("munged", "--foreground", "--force", *options)
        _wait(lambda: (self.folder / "munge" / "socket").exists(), "munged did not start")
        self.start_controller()
        self._spawn("slurmd", "-D")
        _wait(lambda: "idle" in self.command("sinfo", "-h", "-o", "%T"), f"no idle node; see {self.folder}/*.log")

    def start_controller(self) -> None:
        """Start slurmctld, which takes up the state of the last one."""
        self._spawn("slurmctld", "-D")
        _wait(lambda: "UP" in self.command("scontrol", "ping"), f"no slurmctld; see {self.folder}/slurmctld.log")

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on, Slurm's commands fail."""
        self._end("slurmctld")

    def command(self, *arguments: str) -> str:
        """What one of Slurm's commands prints; empty if it fails."""
        result = subprocess.run(arguments, capture_output=True, text=True, env=self.environment, timeout=60)
        return result.stdout if result.returncode == 0 else ""

    def stop(self) -> None:
        """Cancel what is left and end the daemons."""
        if "slurmctld" in self._daemons:
            self.command("scancel", "--user=root", "--state=PENDING")
            self.command("scancel", "--user=root", "--signal=KILL", "--full")
            self.command("scancel", "--user=root")
            with contextlib.suppress(AssertionError):
                _wait(lambda: not self.command("squeue", "-h").strip(), "", seconds=15)
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)

    def _spawn(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [program, *arguments], env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


def _wait(condition: Callable[[], bool], message: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.1)
