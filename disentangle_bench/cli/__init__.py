"""The command ``dbench``. No logic here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import importlib
import signal
from importlib import metadata
from typing import Any

import click

from disentangle_bench import __version__
from disentangle_bench.errors import BenchError, one_line, torch_needed, unknown

_MODULES = {
    "data": ("data",),
    "import_codes": ("import",),
    "info": ("info", "list", "show"),
    "plugin": ("check", "new"),
    "report": ("report",),
    "results": ("merge", "reproduce", "rm", "select", "status"),
    "run": ("plan", "run", "worker"),
    "score": ("score",),
}
_HOMES = {command: module for module, commands in _MODULES.items() for command in commands}
_FUNCTIONS = {"import": "import_codes", "list": "list_"}
"""Functions of those commands whose names Python has taken."""


class _Refused(click.ClickException):
    exit_code = 2


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)


def _check_installed_once() -> None:
    """Raise ``BenchError`` if both distributions are installed: they have the same files, and pip lets these mix."""
    names = ("disentangle-bench", "disentangle-bench-light")
    if all(next(iter(metadata.distributions(name=name)), None) for name in reversed(names)):
        raise BenchError(f"{names[0]} and {names[1]} are both installed: pip uninstall both of them, then install one")


class _Commands(click.Group):
    """The commands, each imported when it is asked for. Errors that users can mend are one line, with status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or None if there is none of that name."""
        if cmd_name not in _HOMES:
            return None
        module = importlib.import_module(f"{__name__}.{_HOMES[cmd_name]}")
        command: click.Command = getattr(module, _FUNCTIONS.get(cmd_name, cmd_name))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        # A scheduler, the system or a closed terminal ends the command as Ctrl-C does.
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, _interrupt)
        try:
            _check_installed_once()
            with torch_needed():
                return super().invoke(ctx)
        except BenchError as error:
            raise _Refused(" ".join(one_line(error).split())) from error
        except click.UsageError as error:
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                raise
            path = error.ctx.command_path if error.ctx else "dbench"
            raise _Refused(f"{error.format_message()} See {path} --help.") from error
        except BrokenPipeError:
            raise  # the reader closed the output: click ends quietly
        except OSError as error:
            if error.filename is None and error.strerror is None:
                raise
            raise _Refused(one_line(f"{error.strerror}: {error.filename or ''}").rstrip(": ")) from error
        except KeyboardInterrupt as interruption:
            click.echo("interrupted: give the same command again to resume", err=True)
            number = interruption.args[0] if interruption.args else signal.SIGINT
            ctx.exit(128 + number)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that ``args`` begin with; an unknown name is an error of one line."""
        if args and not args[0].startswith("-") and args[0] not in _HOMES:
            raise unknown("command", args[0], _HOMES)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dbench")
def main() -> None:
    """Compare disentanglement models under one fair, versioned protocol."""
