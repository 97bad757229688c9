"""Start processes of this package: the one way for runs, scores and figures.

A process is a fresh interpreter that imports nothing from the current folder (``python -P``, started in the root
folder) and never runs the user's script again, whether that has a ``__main__`` guard or not. Parent and child exchange
lines of JSON through pipes; nothing is pickled.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
"""Folder that holds the package."""


class Channel:
    """Channel from a process to the one that started it."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def send(self, value: Any) -> None:
        """Send a JSON value; raise ``BrokenPipeError`` if the other end is closed."""
        self._file.write(json.dumps(value).encode() + b"\n")

    def close(self) -> None:
        """Close this end, for a forked process that must not use it."""
        self._file.close()


class Process:
    """A process that calls ``target(argument, channel)``, where ``target`` is ``"module:function"``.

    Iterating yields the values that it sends, until it ends. Closing its input (``close``) asks it to stop. Signals
    from a terminal do not stop it, because only its parent knows when it may end. Leaving the context kills it.
    """

    def __init__(self, target: str, argument: Any) -> None:
        code = (
            f"import sys; sys.path.append({str(ROOT)!r}); "
            f"from disentangle_bench.processes import serve; serve({target!r}, {os.getcwd()!r})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=os.path.abspath(os.sep),
            env=environment(),
        )
        with contextlib.suppress(BrokenPipeError):  # it has already ended: iterating will show that
            self.send(argument)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __iter__(self) -> Iterator[Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # half a line, after a kill or an interruption
                yield json.loads(line)

    def send(self, value: Any) -> None:
        """Send a JSON value; raise ``BrokenPipeError`` if the process has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Ask the process to stop."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self) -> str:
        """Wait until the process has ended; return how it ended, as readable text."""
        return cause(self.process.wait())


def answers(target: str, tasks: Sequence[Any], jobs: int) -> Generator[tuple[int, Any]]:
    """Do ``tasks`` (JSON values) in ``jobs`` processes; yield the number and the answer of each as it ends.

    ``target`` gets the first task of its process as its argument and reads the others with ``further_tasks``; it sends
    one value for each. If the process ends before it sends a value, the task's answer is None. Leaving the iteration,
    also by an interruption, kills the processes.
    """
    waiting, ended = deque(enumerate(tasks)), SimpleQueue[tuple[int, Any]]()
    started: list[Process] = []
    threads = [Thread(target=_work, args=(target, waiting, ended, started), daemon=True) for _ in range(jobs)]
    try:
        for thread in threads:
            thread.start()
        for _ in tasks:
            yield ended.get()
    finally:
        waiting.clear()
        while any(thread.is_alive() for thread in threads):
            for process in list(started):
                process.process.kill()
            for thread in threads:
                thread.join(0.05)


def _work(
    target: str, waiting: deque[tuple[int, Any]], ended: SimpleQueue[tuple[int, Any]], started: list[Process]
) -> None:
    """Do waiting tasks in one process at a time; start a new process when one has ended."""
    while waiting:
        with contextlib.ExitStack() as stack:
            lines: Iterator[Any] | None = None
            while waiting:
                try:
                    number, task = waiting.popleft()
                except IndexError:  # another thread was faster
                    return
                if lines is None:
                    process = stack.enter_context(Process(target, task))
                    started.append(process)
                    lines = iter(process)
                else:
                    with contextlib.suppress(BrokenPipeError):
                        process.send(task)
                answer = next(lines, None)
                ended.put((number, answer))
                if answer is None:
                    break


def further_tasks(first: Any) -> Iterator[Any]:
    """Yield the tasks of a process that ``answers`` started, until there are no more."""
    yield first
    for line in sys.stdin.buffer:
        yield json.loads(line)


def cause(code: int) -> str:
    """Return an exit code as text: ``killed by SIGKILL``, ``exit status 1``."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def environment() -> dict[str, str]:
    """Return the environment of a process.

    Entries of PYTHONPATH that depend on the current folder are made absolute; empty ones, which stand for that folder,
    are left out.
    """
    entries = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}


def serve(target: str, folder: str) -> None:
    """Call ``target`` with the value in the first line of input, in the process that ``Process`` started.

    Whatever is printed there goes to standard error, because standard output carries only JSON.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _pass_over)
    channel = Channel(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, _, function = target.partition(":")
    call = getattr(importlib.import_module(module), function)
    with contextlib.suppress(OSError):  # so that relative paths mean the same as in the parent
        os.chdir(folder)
    argument = json.loads(sys.stdin.buffer.readline())
    with contextlib.suppress(BrokenPipeError):
        call(argument, channel)


def _pass_over(number: int, frame: object) -> None:
    """Ignore a signal; unlike with SIG_IGN, a forked process can see that the signal was not ignored before."""
