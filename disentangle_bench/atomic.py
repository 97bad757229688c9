"""Write files that are either complete or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..*-(?P<host>[0-9a-f]{6})-(?P<pid>\d{1,9})-\w{8}\.tmp(\.\w+)?")
OLD_SECONDS = 86400.0
"""Age in seconds from which a temporary file counts as a leftover, whichever machine wrote it."""


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; if no error follows, flush the file and rename it to ``target``.

    A process killed at any moment leaves the old file or the new one, never half of one. It may also leave the
    temporary file, which ``remove_leftovers`` recognises by its name. That name keeps the suffix of ``target``, by
    which ``numpy.savez`` and ``matplotlib`` choose the format.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = f".{target.stem}-{_host()}-{os.getpid()}-", f".tmp{target.suffix}"
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; give the result the permissions any other new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``target``, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_leftovers(folder: Path, *, held: bool = False) -> None:
    """Remove the temporary files that killed processes left in ``folder``, but not in its subfolders.

    A file is a leftover if it was made by a process of this machine that has ended, if it is a day old, or if the
    caller has locked the folder (``held``), so that nobody else can be writing there.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            match = _TEMPORARY.fullmatch(name)
            if match and (held or _is_leftover(folder / name, match["host"], int(match["pid"]))):
                with contextlib.suppress(OSError):
                    (folder / name).unlink()


def _is_leftover(path: Path, host: str, pid: int) -> bool:
    if host == _host() and os.name == "posix":
        try:
            os.kill(pid, 0)  # signal 0 only asks whether there is such a process
        except ProcessLookupError:
            return True
        except OSError:
            return False
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > OLD_SECONDS
    return False
