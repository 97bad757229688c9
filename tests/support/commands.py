"""Real ``dbench run`` commands in the background, and what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from disentangle_bench.store import claims

GRID = ["--datasets", "rooms3d", "--protocol", "smoke"]
LONG = ("--models", "beta_vae", "--seeds", "1", "--set", "training.updates=400")
"""A grid of one run that is long enough to be disturbed."""


def until(condition, description, seconds=120):
    """Wait for something that is not None or empty, and give it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{description}: not within {seconds} s"
        time.sleep(0.05)
    return value


def kill_all(command, out):
    """Kill a command and all its processes, and wait until the kernel has released their claims on the runs in ``out``.

    A killed process ends only when it next gets a core, and only then are its locks free.
    """
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(command.pid, signal.SIGKILL)
    command.communicate(timeout=60)
    until(lambda: not any(claims.is_claimed(folder) for folder in out.glob("runs/*")), "the end of killed processes")


class Command:
    """A real ``dbench run`` in the background."""

    def __init__(self, out, arguments, environment):
        self.out = out
        self.command = [sys.executable, "-m", "disentangle_bench", "run", *GRID, *arguments, "--out", str(out)]
        self.environment = environment
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment, cwd="/"
        )
        return self

    def wait(self, seconds=400):
        """Its status and all that it printed."""
        output, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, output + errors

    def complete(self, count):
        """Run it to the end, which must be good, with this many runs finished now."""
        status, output = self.start().wait()
        assert status == 0, output
        assert f"{count} finished" in output, output
        assert "0 failed" in output, output
        return output

    def training(self, name=""):
        """Wait until a run of that name trains; its run id and its heartbeat."""

        def look():
            for path in sorted(self.out.glob(f"runs/*{name}*/progress.json")):
                try:
                    beat = json.loads(path.read_text())
                except (OSError, ValueError):
                    continue
                if beat["phase"] == "training" and beat["done"] > 0:
                    return path.parent.name, beat
            return None

        return until(look, f"{name} to train in {self.out}")
