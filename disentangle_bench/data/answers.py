"""Read what a server on the internet sends, which may be slow, endless, or a web page in place of a file."""

from __future__ import annotations

import html.parser
import queue
import threading
import zlib
from collections.abc import Generator, Iterator
from typing import Any

from disentangle_bench.errors import one_line


class Refused(Exception):
    """Error: the mirror does not provide the file."""


class Cut(Exception):
    """Error: the connection broke or the server is busy; try again, after ``wait`` seconds if the server named any."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Unreachable(Cut):
    """Error: no server, no name or no network."""


def in_time(items: Iterator[Any], seconds: float) -> Generator[Any, None, None]:
    """Yield ``items``, made in a thread; raise ``Cut`` if one takes longer than ``seconds``.

    The timeout of a socket starts anew after each byte, so a server that sends a byte now and then would block a read
    for ever. A thread that waits for such a server is abandoned.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=4)
    abandoned = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not abandoned.is_set():
            try:
                return ready.put((item, error), timeout=0.5)
            except queue.Full:
                continue

    def pump() -> None:
        try:
            for item in items:
                put(item)
                if abandoned.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    threading.Thread(target=pump, daemon=True).start()
    try:
        while True:
            item, error = ready.get(timeout=seconds)
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    except queue.Empty:
        raise Cut(f"the server is too slow: nothing came for {seconds:.0f} s") from None
    finally:
        abandoned.set()


def never_connected(error: BaseException) -> bool:
    """Return whether a request's error says that no server was reached."""
    from requests.exceptions import ConnectTimeout, ProxyError
    from urllib3.exceptions import NewConnectionError

    return any(isinstance(cause, ConnectTimeout | ProxyError | NewConnectionError) for cause in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """Return ``error`` and its causes, outermost first."""
    chain: list[BaseException] = []
    cause: Any = error
    while isinstance(cause, BaseException) and cause not in chain:
        chain.append(cause)
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
    return chain


def reason(error: BaseException) -> str:
    """Return the innermost cause, in one short line."""
    inner = _causes(error)[-1]
    return plain(inner, 120) or type(inner).__name__


def plain(text: object, length: int = 80) -> str:
    """Return what a server says as one short line without control characters."""
    return " ".join(one_line(text).split())[:length]


def number(text: str) -> int | None:
    """Return the number of bytes or seconds in a header; None for anything other than up to 18 digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def unpacked(answer: Any) -> bytes:
    """Return the first MB of a web page, unpacked if the server compressed it without being asked."""
    content: bytes = answer.raw.read(2**20, decode_content=False)
    try:
        return zlib.decompressobj(wbits=47).decompress(content, 2**20)  # gzip or zlib
    except zlib.error:
        return content


class Page(html.parser.HTMLParser):
    """Parser for a web page's title, and the action and hidden fields of its form ``download-form``."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.title = ""
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the start of an element; called by ``feed``."""
        self._tag = tag
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and values.get("id") == "download-form":
            self.action = values.get("action", "")
        if tag == "input" and values.get("type") == "hidden" and self.action is not None:
            self.fields[values.get("name", "")] = values.get("value", "")

    def handle_data(self, data: str) -> None:
        """Note the text of an element; called by ``feed``."""
        if self._tag == "title":
            self.title += data
            self._tag = ""
