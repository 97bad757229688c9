"""``dbench`` as users type it: in this process, which spares the imports, or in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main

SECONDS = 300
"""The longest that a command of its own process may take."""


class Done(NamedTuple):
    """What ``subprocess.CompletedProcess`` says of an ended command."""

    returncode: int
    stdout: str
    stderr: str


def in_process(arguments: list[str], env: dict[str, str], cwd: Path, input: str | None = None) -> Done:
    """Invoke the command here; an exception that it lets out becomes a traceback and status 1, as in a process.

    Runs are done here too, unless ``--jobs`` says how many at a time.
    """
    if arguments[:1] == ["run"] and not {"--jobs", "--executor", "--help"} & set(arguments):
        arguments = [*arguments, "--jobs", "0"]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            result = CliRunner().invoke(main, arguments, input=input, prog_name="dbench")
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    errors = result.stderr
    if result.exc_info and not isinstance(result.exception, SystemExit | None):
        errors += "".join(traceback.format_exception(*result.exc_info))
    return Done(result.exit_code, result.stdout, errors)


def in_subprocess(
    arguments: list[str], env: dict[str, str], cwd: Path, input: str | None = None, seconds: float = SECONDS
) -> Done:
    """Start the command and wait for it, for ``seconds`` at most."""
    result = subprocess.run(
        [sys.executable, "-m", "disentangle_bench", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
        input=input,
        timeout=seconds,
    )
    return Done(result.returncode, result.stdout, result.stderr)


def one_line(result: Done) -> str:
    """The message of a refusal: status 2, one line, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    return result.stderr
