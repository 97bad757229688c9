"""Downloads from a server that never ends, drips or sends odd headers: time, memory and disk are bounded."""

import gzip
import time
import tracemalloc
from pathlib import Path

import pytest

from disentangle_bench.data import download
from disentangle_bench.data.dataset import silent
from disentangle_bench.data.download import fetch
from disentangle_bench.errors import BenchError
from support.bad_server import cut, page
from support.downloads import CONTENT, refused, unknown


def dripping(write, headers=()):
    """An answer that never ends: ``write`` is called every hundredth of a second."""

    def answer(handler, content):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"".join(headers))
        while True:
            write(handler.wfile)
            time.sleep(0.01)

    return answer


ENDLESS = {
    "a byte now and then": dripping(lambda out: out.write(b"x"), [b"Content-Length: 300000\r\n\r\n"]),
    "small chunks": dripping(lambda out: out.write(b"1\r\nx\r\n"), [b"Transfer-Encoding: chunked\r\n\r\n"]),
    "header bytes one by one": dripping(lambda out: out.write(b"x")),
    "continue for ever": dripping(lambda out: out.write(b"HTTP/1.1 100 Continue\r\n\r\n")),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_server_that_drips_is_given_up(server, file, tmp_path, monkeypatch, name):
    monkeypatch.setattr(download, "SLOW_SECONDS", 0.15)
    server.plan = [ENDLESS[name]] * 99
    refused(file, tmp_path, "too slow" if name != "continue for ever" else "")
    assert len(server.requests) <= 6


def test_a_byte_for_each_connection_is_given_up(server, file, tmp_path):
    server.plan = [cut(1)] * 99
    refused(file, tmp_path, "5 times in a row")
    assert len(server.requests) == 5


def test_a_download_has_a_time_limit(server, file, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LONGEST_SECONDS", -1)
    refused(file, tmp_path, "not whole after")


def endless(handler, content):
    """A body of unknown length."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(bytes(2**16))


@pytest.mark.parametrize("has_checksum", [True, False])
def test_an_endless_body_is_given_up(server, file, tmp_path, monkeypatch, has_checksum):
    monkeypatch.setattr(download, "LARGEST_BYTES", 1_000_000)
    server.plan = [endless] * 9
    refused(
        file if has_checksum else unknown(file),
        tmp_path,
        "gives more than 300 kB" if has_checksum else "gives more than 1 MB",
    )
    assert not (tmp_path / "some.bin.part").exists()


def test_an_endless_body_leaves_room_on_the_disk(server, file, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**9 - 1}))
    server.plan = [endless]
    with pytest.raises(BenchError, match=r"under 1\.0 GB left; make room"):
        fetch(unknown(file), tmp_path, "some")
    assert not (tmp_path / "some.bin.part").exists()


def test_a_full_disk_is_one_line(server, file, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "some.bin.part").symlink_to("/dev/full")
    job = download._Job("", file, tmp_path / "some.bin.part", tmp_path / "x.json", silent, 1e18)
    with pytest.raises(BenchError, match=r"cannot be written .*No space left.*make room"):
        download._save(iter([b"abc"]), 0, 3, job)


def test_a_compressed_web_page_is_unpacked_within_bounds(server, file, tmp_path):
    page_of_200_mb = b"<!DOCTYPE html><html><title>Quota exceeded</title>" + b" " * 200_000_000
    body = gzip.compress(page_of_200_mb, 1)
    del page_of_200_mb

    def bomb(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.plan = [bomb]
    tracemalloc.start()
    refused(file, tmp_path, "web page (Quota exceeded)")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def headed(*lines, code=b"200 OK", body=CONTENT):
    def answer(handler, content):
        handler.wfile.write(b"HTTP/1.1 " + code + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body)
        handler.close_connection = True
        handler.connection.close()

    return answer


SUPERSCRIPT = "\u00b2".encode("latin-1")
ODD = {
    "length in superscript": headed(b"Content-Length: " + SUPERSCRIPT),
    "length of 5,000 digits": headed(b"Content-Length: " + b"9" * 5000),
    "negative length": headed(b"Content-Length: -5"),
    "two lengths": headed(b"Content-Length: 1, 2"),
    "range in superscript": headed(b"Content-Range: bytes " + SUPERSCRIPT + b"-3/" + SUPERSCRIPT, code=b"206 Partial"),
    "range of 5,000 digits": headed(b"Content-Range: bytes 0-3/" + b"9" * 5000, code=b"206 Partial"),
    "wait in superscript": headed(b"Retry-After: " + SUPERSCRIPT, code=b"503 Busy"),
    "wait of 5,000 digits": headed(b"Retry-After: " + b"9" * 5000, code=b"503 Busy"),
    "negative chunk": headed(b"Transfer-Encoding: chunked", body=b"-5\r\nabc\r\n"),
    "chunk of 5,000 digits": headed(b"Transfer-Encoding: chunked", body=b"9" * 5000 + b"\r\nabc\r\n"),
    "no HTTP at all": headed(b"\x00\xff", code=b"\xff"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("cuts", [False, True])
def test_odd_headers_end_in_the_file_or_in_one_line(server, file, tmp_path, name, cuts):
    server.plan = [*[cut(100_000)] * cuts, *[ODD[name]] * 99]
    try:
        fetch(file, tmp_path, "some")
    except BenchError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert (tmp_path / "some.bin").exists() == (not message)
    assert message or (tmp_path / "some.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer",
    [
        headed(b"Content-Length: 0", code=b"404 \x1b[2Jgone\x07", body=b""),
        page("<html><title>\x1b[2Jgone\x07</title></html>"),
    ],
)
def test_control_characters_of_a_server_are_not_printed(server, file, tmp_path, answer):
    server.plan = [answer] * 9
    message = refused(file, tmp_path, "gone")
    assert message.isprintable()
