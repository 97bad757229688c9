"""A local HTTP server that serves files and misbehaves on request."""

import random
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Server:
    """What it serves, how it behaves, and what it was asked.

    ``plan`` is a list of behaviours, one for each request in turn; when it is used up the server behaves. A behaviour
    is a function of the handler and the content that answers, or None to answer properly.
    """

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.files, self.plan, self.requests = {}, [], []
        self.ranges = True
        self.etag = '"one"'


def cut(after):
    """Send the first ``after`` bytes of what was asked for and hang up."""

    def answer(handler, content):
        handler.proper(content, stop=after)

    return answer


def cut_at_random(seed):
    rng = random.Random(seed)
    return lambda handler, content: handler.proper(content, stop=rng.randrange(0, max(1, len(content))))


def status(code, headers=None):
    def answer(handler, content):
        handler.send_response(code)
        for key, value in (headers or {}).items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def page(document, kind="text/html; charset=utf-8", code=200):
    def answer(handler, content):
        body = document.encode()
        handler.send_response(code)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def wrong_byte(handler, content):
    k = len(content) // 2
    handler.proper(content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :])


def hang_up(handler, content):
    handler.close_connection = True
    handler.connection.close()


@contextmanager
def serving():
    """Run a ``Server`` for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            server.requests.append((self.path, dict(self.headers)))
            content = server.files.get(url.path.lstrip("/"))
            behaviour = server.plan.pop(0) if server.plan else None
            try:
                if behaviour is not None:
                    behaviour(self, content)
                elif content is None:
                    status(404)(self, b"")
                elif callable(content):
                    content(self, parse_qs(url.query))
                else:
                    self.proper(content)
            except (BrokenPipeError, ConnectionResetError, OSError, ValueError):
                pass  # the client or a behaviour has hung up

        def proper(self, content, stop=None):
            begin = 0
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if server.ranges else None
            if match and self.headers.get("If-Range", server.etag) == server.etag:
                begin = int(match[1])
                if begin >= len(content):
                    status(416, {"Content-Range": f"bytes */{len(content)}"})(self, content)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(content) - begin))
            self.send_header("ETag", server.etag)
            self.end_headers()
            self.wfile.write(content[begin:] if stop is None else content[begin : begin + stop])
            self.close_connection = True

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_address[1])
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()
