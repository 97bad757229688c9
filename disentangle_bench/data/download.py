"""Download files: from mirrors in order, resumed where cut off, bounded in time and size, checked before use."""

from __future__ import annotations

import http.client
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from disentangle_bench.atomic import write_text
from disentangle_bench.data.answers import (
    Cut,
    Page,
    Refused,
    Unreachable,
    in_time,
    never_connected,
    number,
    plain,
    reason,
    unpacked,
)
from disentangle_bench.data.dataset import OfficialFile, Report, silent
from disentangle_bench.data.files import is_page, json_object, locked, megabytes, problem
from disentangle_bench.errors import BenchError

_log = logging.getLogger(__name__)

OFFLINE = "DBENCH_OFFLINE"
"""The environment variable that forbids downloads, by any value except empty and 0."""

TRIES = 5
"""Attempts in a row at one mirror, each without ``PIECE`` new bytes, after which it is given up."""
WAIT_SECONDS = 1.0
"""Wait before the second attempt, doubled each time; a server may ask for up to ``LONGEST_WAIT_SECONDS``."""
LONGEST_WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = (10.0, 60.0)
"""Longest wait for a connection, and for the next byte."""
PIECE = 2**16
SLOW_SECONDS = 60.0
"""Time within which an answer must begin, and then bring ``PIECE`` bytes each time."""
LONGEST_SECONDS = 48 * 3600.0
"""Longest time for one file from one mirror; the next call resumes it."""
LARGEST_BYTES = 20 * 10**9
"""Size limit of a file of unknown size; the largest official files have 13 GB."""
RESERVE_BYTES = 10**9
"""Disk space to leave free when downloading a body of unknown length."""


def is_offline() -> bool:
    """Return whether the environment forbids downloads."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def fetch(file: OfficialFile, folder: Path, dataset: str, report: Report = silent) -> Path:
    """Return the path of ``file`` in ``folder``, downloaded and checked if it is not there yet; processes take turns.

    Interrupted downloads are kept as ``<name>.part`` and resumed. If downloads are forbidden, the path is returned even
    though the file may be missing. Raises ``BenchError`` if no mirror provides the right file.
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
            except Refused as error:
                reasons.append(f"{urlsplit(url).hostname}: {error}")
                _log.info("%s: %s", url, error)
                continue
            return target
        listed = "; ".join(dict.fromkeys(reasons)) or "no address is known"
        raise BenchError(
            f"{file.name} of {dataset} could not be downloaded ({listed}). Try again later (it resumes), "
            f"or get the file by hand from {file.urls[0] if file.urls else 'its authors'} and put it into {folder}, or "
            f"run `dbench data add {dataset} FILE`; rooms3d and dsprites_rendered need no download."
        )


@dataclass(frozen=True)
class _Job:
    """One file from one mirror: the bytes so far are in ``part``, and ``state`` says where they came from."""

    url: str
    file: OfficialFile
    part: Path
    state: Path
    report: Report
    deadline: float

    @property
    def size(self) -> int:
        """Bytes in ``part``."""
        return self.part.stat().st_size if self.part.exists() else 0


def _has_checksum(file: OfficialFile) -> bool:
    """Return whether a checksum decides if the file is right."""
    return bool(file.sha256 or (file.md5 and not file.advisory))


def _from_mirror(url: str, file: OfficialFile, target: Path, report: Report) -> None:
    """Download from one mirror to ``target``; raise ``Refused`` if that fails."""
    part = target.with_name(target.name + ".part")
    state = target.with_name(target.name + ".part.json")
    job = _Job(url, file, part, state, report, time.monotonic() + LONGEST_SECONDS)
    # Another mirror may hold another upload; only a checksum would show that.
    resumed = part.exists() and (_has_checksum(file) or json_object(state).get("url") == url)
    if not resumed:
        part.unlink(missing_ok=True)
    while True:
        _log.info("downloading %s%s", url, f", from {megabytes(job.size)} on" if resumed else "")
        _until_whole(job)
        fault = problem(part, file, report)
        if not fault:
            break
        part.unlink()
        state.unlink(missing_ok=True)
        if not resumed:
            raise Refused(f"what it gave {fault}")
        # The older bytes may be at fault: an interrupted write, or a file that has changed on the server.
        _log.warning("%s %s; downloading it from the start", part, fault)
        resumed = False
    with part.open("rb+") as whole:
        os.fsync(whole.fileno())
    part.replace(target)
    state.unlink(missing_ok=True)


def _until_whole(job: _Job) -> None:
    """Repeat attempts until the file is as long as the server says; raise ``Refused`` if that fails."""
    import requests

    tries, best, answered = 0, job.size, False
    with requests.Session() as session:  # reads the proxies from the environment
        # Ask for the bytes as stored there: a compressed answer has other lengths, and a .gz must stay one.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "disentangle-bench"})
        while True:
            try:
                _attempt(session, job)
                return
            except Cut as error:
                answered |= not isinstance(error, Unreachable)
                if not answered:  # the server was never reached, so waiting will not help
                    raise Refused(str(error)) from error
                tries = 0 if job.size >= best + PIECE else tries + 1
                best = max(best, job.size)
                if tries >= TRIES:
                    raise Refused(f"{error}, {TRIES} times in a row") from error
                wait = WAIT_SECONDS * 2 ** max(tries - 1, 0) if error.wait is None else error.wait
                _log.warning("%s: %s; resuming in %.0f s", job.url, error, min(wait, LONGEST_WAIT_SECONDS))
                time.sleep(min(wait, LONGEST_WAIT_SECONDS))


def _attempt(session: Any, job: _Job) -> None:
    """Write one answer of the server to ``job.part``; raise ``Cut`` or ``Refused`` if that fails."""
    import requests
    from urllib3.exceptions import HTTPError

    begin = job.size
    headers = {}
    if begin:
        headers["Range"] = f"bytes={begin}-"
        known = json_object(job.state)
        if known.get("url") == job.url and known.get("etag"):
            headers["If-Range"] = known["etag"]
    pieces = in_time(_answered(session, job, headers), SLOW_SECONDS)
    try:
        answer = next(pieces)
        begin, total = _judged(answer, begin, job)
        etag = answer.headers.get("ETag", "")
        write_text(job.state, json.dumps({"url": job.url, "etag": "" if etag.startswith("W/") else etag}))
        if answer.status_code != 416:
            _save(pieces, begin, total, job)
    except (requests.exceptions.RequestException, HTTPError, http.client.HTTPException, ValueError) as error:
        if never_connected(error):
            raise Unreachable(f"cannot be reached ({reason(error)})") from error
        raise Cut(f"the connection broke ({reason(error)})") from error
    finally:
        pieces.close()


def _answered(session: Any, job: _Job, headers: dict[str, str]) -> Iterator[Any]:
    """Yield the server's answer, then the pieces of its body."""
    with _answer(session, job, headers) as answer:
        yield answer
        yield from answer.raw.stream(PIECE, decode_content=False)


def _answer(session: Any, job: _Job, headers: dict[str, str]) -> Any:
    """Return the server's answer, after confirming Google Drive's warning on files too large to scan for viruses."""

    def get(url: str, **options: Any) -> Any:
        answer = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS, **options)
        addresses = [job.url, *(hop.url for hop in answer.history), answer.url]
        schemes = [urlsplit(address).scheme for address in addresses]
        if "https" in schemes and "http" in schemes[schemes.index("https") :] and not _has_checksum(job.file):
            answer.close()
            raise Refused("it leads from https to http, and no checksum would find out what was changed on the way")
        return answer

    answer = get(job.url)
    if not answer.ok or "text/html" not in answer.headers.get("Content-Type", ""):
        return answer
    page = Page()
    page.feed(unpacked(answer).decode("utf-8", "replace"))
    answer.close()
    action = urljoin(answer.url, page.action or "")
    if page.action is None or urlsplit(action).scheme not in ("http", "https"):
        raise Refused(f"it answered with a web page ({plain(page.title) or 'untitled'}) and not the file")
    answer = get(action, params=page.fields)
    if answer.ok and "text/html" in answer.headers.get("Content-Type", ""):
        answer.close()
        raise Refused("it answered with a web page and not the file, also after the download was confirmed")
    return answer


def _judged(answer: Any, begin: int, job: _Job) -> tuple[int, int | None]:
    """Return the position of the answer's first byte, and the whole file's length; raise if the answer is unusable."""
    status, file, part = answer.status_code, job.file, job.part
    if status == 416:
        # Nothing comes after the bytes in part: it is complete, or longer than the file, which only a
        # known size can tell.
        if file.size is not None and begin == file.size:
            return begin, begin
        part.unlink(missing_ok=True)
        raise Cut("the server has no bytes after those that are here; starting again")
    if status in (408, 425, 429) or status >= 500:
        wait = number(answer.headers.get("Retry-After", ""))
        raise Cut(f"the server is busy (status {status})", None if wait is None else float(wait))
    if status not in (200, 206):
        raise Refused(f"status {status} {plain(answer.reason or '')}".rstrip())
    total = number(answer.headers.get("Content-Length", ""))
    if status == 206:
        span, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(begin):
            part.unlink(missing_ok=True)
            raise Cut(f"the server gave other bytes ({plain(span)}) than were asked for; starting again")
        total = number(whole)
    else:
        begin = 0  # the server sends the whole file, whatever was asked for
    if total is not None and file.size is not None and total != file.size:
        raise Refused(f"its file has {total} bytes and the official one {file.size}")
    if total is not None and total > LARGEST_BYTES:
        raise Refused(f"its file has {megabytes(total)}, more than any official file")
    if total is not None and shutil.disk_usage(part.parent).free < total - begin:
        raise BenchError(f"{file.name} takes {megabytes(total)}, more than {part.parent} has left; make room.")
    return begin, total


def _save(pieces: Iterator[bytes], begin: int, total: int | None, job: _Job) -> None:
    """Write ``pieces`` to ``job.part`` from ``begin`` on; raise ``Cut`` if they end too early or come too slowly."""
    done = marked = begin
    moment = time.monotonic()
    limit = job.file.size or total or LARGEST_BYTES
    with job.part.open("ab" if begin else "wb", buffering=0) as out:
        for piece in pieces:
            if not done and is_page(piece[:512]):
                raise Refused("it answered with a web page and not the file")
            if done + len(piece) > limit:
                job.part.unlink()
                raise Refused(f"it gives more than {megabytes(limit)}, which is not the file")
            if total is None and shutil.disk_usage(job.part.parent).free < RESERVE_BYTES:
                job.part.unlink()
                raise BenchError(f"{job.part.parent} has under {megabytes(RESERVE_BYTES)} left; make room.")
            try:
                left = memoryview(piece)
                while left:
                    left = left[out.write(left) :]
            except OSError as error:
                raise BenchError(f"{job.part} cannot be written ({error.strerror or error}); make room.") from error
            done += len(piece)
            job.report(f"downloading {job.file.name}", done, total)
            now = time.monotonic()
            if now > job.deadline:
                raise Refused(f"it is not whole after {LONGEST_SECONDS / 3600:.0f} hours")
            if now - moment > SLOW_SECONDS:
                if done - marked < PIECE:
                    raise Cut(f"the server is too slow: under {megabytes(PIECE)} in {SLOW_SECONDS:.0f} s")
                marked, moment = done, now
    if total is not None and done < total:
        raise Cut(f"the connection ended after {done} of {total} bytes")
