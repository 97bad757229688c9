"""Downloads that go on where they were cut, from mirrors in order, and are used only once their checksum is right."""

from __future__ import annotations

import html.parser
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from disentangle_bench.atomic import write_text
from disentangle_bench.data.dataset import OfficialFile, Report, silent
from disentangle_bench.data.files import is_page, locked, megabytes, problem
from disentangle_bench.errors import BenchError

_log = logging.getLogger(__name__)

OFFLINE = "DBENCH_OFFLINE"
"""The environment variable that forbids downloads: any value but empty and 0."""

TRIES = 5
"""Attempts at one mirror without a single new byte."""
WAIT_SECONDS = 1.0
"""Before the second attempt; doubled each time, and a server may ask for up to ``LONGEST_WAIT_SECONDS``."""
LONGEST_WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two pieces of an answer."""
PIECE = 2**18


class _Refused(Exception):
    """The mirror will not give the file."""


class _Cut(Exception):
    """The connection broke or the server is busy: worth another attempt, after ``wait`` seconds if it named any."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Unreachable(_Cut):
    """No server, no name or no network."""


def is_offline() -> bool:
    """Whether the environment forbids downloads."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def fetch(file: OfficialFile, folder: Path, dataset: str, report: Report = silent) -> Path:
    """The path of ``file`` in ``folder``, downloaded and checked if it is not there yet; processes take turns.

    What was downloaded before a cut or a kill stays in ``<name>.part`` and is gone on with. Where downloads are
    forbidden the path is returned as it is: whoever opens it says what is missing. Raises ``BenchError`` if no
    mirror gives the right file.
    """
    target = folder / file.name
    if target.exists() or is_offline():
        return target
    with locked(target):
        if target.exists():  # another process was first
            return target
        reasons = []
        for url in file.urls:
            try:
                _from_mirror(url, file, target, report)
            except _Refused as error:
                reasons.append(f"{urlsplit(url).hostname}: {error}")
                _log.info("%s: %s", url, error)
                continue
            return target
        told = "; ".join(dict.fromkeys(reasons)) or "no address is known"
        raise BenchError(
            f"{file.name} of {dataset} could not be downloaded ({told}). Try again later (it resumes), "
            f"or get the file by hand from {file.urls[0] if file.urls else 'its authors'} and put it into {folder}, or "
            f"run `dbench data add {dataset} FILE`; rooms3d and dsprites_rendered need no download."
        )


def _from_mirror(url: str, file: OfficialFile, target: Path, report: Report) -> None:
    """Download from one mirror to ``target``; raises ``_Refused``."""
    part = target.with_name(target.name + ".part")
    state = target.with_name(target.name + ".part.json")
    resumed = _resumable(part, state, url, file)
    if not resumed:
        part.unlink(missing_ok=True)
    while True:
        _log.info("downloading %s%s", url, f", from {megabytes(part.stat().st_size)} on" if resumed else "")
        _until_whole(url, file, part, state, report)
        words = problem(part, file, report)
        if not words:
            break
        part.unlink()
        state.unlink(missing_ok=True)
        if not resumed:
            raise _Refused(f"what it gave {words}")
        # The older bytes may be to blame: an interrupted write, or a file that has changed on the server.
        _log.warning("%s %s; downloading it from the start", part, words)
        resumed = False
    with part.open("rb+") as whole:
        os.fsync(whole.fileno())
    part.replace(target)
    state.unlink(missing_ok=True)


def _resumable(part: Path, state: Path, url: str, file: OfficialFile) -> bool:
    """Whether the beginning that lies in ``part`` can be gone on with from ``url``."""
    if not part.exists():
        return False
    # Another mirror may hold another upload; only a checksum would find that out.
    return bool(file.sha256 or (file.md5 and not file.advisory)) or _read_state(state).get("url") == url


def _read_state(state: Path) -> dict[str, Any]:
    try:
        content = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _until_whole(url: str, file: OfficialFile, part: Path, state: Path, report: Report) -> None:
    """Attempt after attempt, until ``part`` is as long as the server says; raises ``_Refused``."""
    import requests

    tries, best, answered = 0, part.stat().st_size if part.exists() else 0, False
    with requests.Session() as session:  # reads the proxies from the environment
        # Bytes as they lie there: a compressed answer has other lengths, and a .gz must stay one.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "disentangle-bench"})
        while True:
            try:
                _attempt(session, url, file, part, state, report)
                return
            except _Cut as error:
                answered |= not isinstance(error, _Unreachable)
                if not answered:  # it was never there: waiting will not help
                    raise _Refused(str(error)) from error
                size = part.stat().st_size if part.exists() else 0
                tries = 0 if size > best else tries + 1
                best = max(best, size)
                if tries >= TRIES:
                    raise _Refused(f"{error}, {TRIES} times in a row") from error
                wait = WAIT_SECONDS * 2 ** max(tries - 1, 0) if error.wait is None else error.wait
                _log.warning("%s: %s; going on in %.0f s", url, error, min(wait, LONGEST_WAIT_SECONDS))
                time.sleep(min(wait, LONGEST_WAIT_SECONDS))


def _attempt(session: Any, url: str, file: OfficialFile, part: Path, state: Path, report: Report) -> None:
    """One answer of the server, written to ``part``; raises ``_Cut`` and ``_Refused``."""
    import requests
    from urllib3.exceptions import HTTPError

    begin = part.stat().st_size if part.exists() else 0
    headers = {}
    if begin:
        headers["Range"] = f"bytes={begin}-"
        known = _read_state(state)
        if known.get("url") == url and known.get("etag"):
            headers["If-Range"] = known["etag"]
    try:
        with _answer(session, url, headers) as answer:
            begin, total = _judged(answer, begin, file, part)
            if total is not None and shutil.disk_usage(part.parent).free < total - begin:
                raise BenchError(f"{file.name} takes {megabytes(total)}, more than {part.parent} has left; make room.")
            etag = answer.headers.get("ETag", "")
            write_text(state, json.dumps({"url": url, "etag": "" if etag.startswith("W/") else etag}))
            _save(answer, part, begin, total, lambda done: report(f"downloading {file.name}", done, total))
    except (requests.exceptions.RequestException, HTTPError) as error:
        if _never_connected(error):
            raise _Unreachable(f"cannot be reached ({_reason(error)})") from error
        raise _Cut(f"the connection broke ({_reason(error)})") from error


def _never_connected(error: BaseException) -> bool:
    from requests.exceptions import ConnectTimeout, ProxyError
    from urllib3.exceptions import NewConnectionError

    return any(isinstance(cause, ConnectTimeout | ProxyError | NewConnectionError) for cause in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """``error`` and what caused it, outermost first."""
    chain: list[BaseException] = []
    cause: Any = error
    while isinstance(cause, BaseException) and cause not in chain:
        chain.append(cause)
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
    return chain


def _reason(error: BaseException) -> str:
    """The innermost cause, in one short line."""
    inner = _causes(error)[-1]
    return " ".join(str(inner).split())[:120] or type(inner).__name__


def _answer(session: Any, url: str, headers: dict[str, str]) -> Any:
    """The server's answer, past Google Drive's question whether to download a file too large to scan for viruses."""
    answer = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    if not answer.ok or "text/html" not in answer.headers.get("Content-Type", ""):
        return answer
    page = _Page()
    page.feed(answer.raw.read(2**20, decode_content=True).decode("utf-8", "replace"))
    answer.close()
    action = urljoin(answer.url, page.action or "")
    if page.action is None or urlsplit(action).scheme not in ("http", "https"):
        raise _Refused(f"it answered with a web page ({page.title.strip()[:80] or 'untitled'}) and not the file")
    answer = session.get(action, params=page.fields, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    if answer.ok and "text/html" in answer.headers.get("Content-Type", ""):
        answer.close()
        raise _Refused("it answered with a web page and not the file, also after the download was confirmed")
    return answer


class _Page(html.parser.HTMLParser):
    """Title, and action and hidden fields of the form ``download-form``, of a web page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.title = ""
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by ``feed``."""
        self._tag = tag
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and values.get("id") == "download-form":
            self.action = values.get("action", "")
        if tag == "input" and values.get("type") == "hidden" and self.action is not None:
            self.fields[values.get("name", "")] = values.get("value", "")

    def handle_data(self, data: str) -> None:
        """Called by ``feed``."""
        if self._tag == "title":
            self.title += data
            self._tag = ""


def _judged(answer: Any, begin: int, file: OfficialFile, part: Path) -> tuple[int, int | None]:
    """Where the answer's bytes begin, and how long the whole file is; raises if they are of no use."""
    status = answer.status_code
    if status == 416:
        # Nothing comes after what is there: it is whole, or longer than the file. The checksum will tell.
        if file.size is not None and begin == file.size:
            return begin, begin
        part.unlink(missing_ok=True)
        raise _Cut("the server has no bytes after those that are here; starting again")
    if status in (408, 425, 429) or status >= 500:
        wait = answer.headers.get("Retry-After", "")
        raise _Cut(f"the server is busy (status {status})", float(wait) if wait.isdigit() else None)
    if status not in (200, 206):
        raise _Refused(f"status {status} {answer.reason or ''}".rstrip())
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else None
    if status == 206:
        span, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(begin):
            part.unlink(missing_ok=True)
            raise _Cut(f"the server gave other bytes ({span}) than were asked for; starting again")
        total = int(whole) if whole.isdigit() else None
    else:
        begin = 0  # the whole file, whatever was asked for
    if total is not None and file.size is not None and total != file.size:
        raise _Refused(f"its file has {total} bytes and the official one {file.size}")
    return begin, total


def _save(answer: Any, part: Path, begin: int, total: int | None, tell: Callable[[int], None]) -> None:
    """Write the answer's bytes to ``part``, from ``begin`` on; raises ``_Cut`` if they end too early."""
    done = begin
    if answer.status_code == 416:
        return
    with part.open("ab" if begin else "wb") as out:
        for piece in answer.raw.stream(PIECE, decode_content=False):
            if not done and is_page(piece[:512]):
                raise _Refused("it answered with a web page and not the file")
            out.write(piece)
            done += len(piece)
            tell(done)
    if total is not None and done < total:
        raise _Cut(f"the connection ended after {done} of {total} bytes")
