"""Downloads from a server that misbehaves."""

import dataclasses
import random
import types

import pytest

from disentangle_bench.data import download
from disentangle_bench.data.dataset import OfficialFile, silent
from disentangle_bench.data.download import fetch
from disentangle_bench.errors import BenchError
from support.bad_server import cut, cut_at_random, hang_up, page, status, wrong_byte
from support.downloads import CONTENT, SHA256, refused, unknown


def test_a_good_server(server, file, tmp_path):
    reports = []
    path = fetch(file, tmp_path, "some", lambda *progress: reports.append(progress))
    assert path.read_bytes() == CONTENT
    size = len(CONTENT)
    assert ("downloading some.bin", size, size) in reports
    assert reports[-1] == ("checking some.bin", size, size)
    fetch(file, tmp_path, "some")
    assert len(server.requests) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["some.bin", "some.bin.lock"]


def test_a_cut_connection_is_gone_on_with(server, file, tmp_path):
    server.plan = [cut(100_000), cut(50_000), hang_up]
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
        "bytes=150000-",
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("has_checksum", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_any_mischief_ends_in_the_right_bytes_or_in_one_line(server, file, tmp_path, seed, has_checksum, ranges):
    """Cuts, busy servers, servers without ranges: the file is right or absent, and the next attempt mends it."""
    rng = random.Random(seed)
    mischief = [cut_at_random(seed), hang_up, status(429, {"Retry-After": "0"}), status(500), status(503), None]
    server.plan = [rng.choice(mischief) for _ in range(12)]
    server.ranges = ranges
    target = file if has_checksum else unknown(file)
    for _ in range(12):
        try:
            path = fetch(target, tmp_path, "some")
        except BenchError as failure:
            message = str(failure)
        else:
            break
        assert "\n" not in message
        assert not (tmp_path / "some.bin").exists()
    else:
        pytest.fail("the file never came")
    assert path.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_gives_the_file_from_the_start(server, file, tmp_path):
    server.ranges = False
    server.plan = [cut(100_000)]
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_server_that_gives_another_range_is_not_believed(server, file, tmp_path):
    def shifted(handler, content):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 5-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - 5))
        handler.end_headers()
        handler.wfile.write(content[5:])

    server.plan = [cut(100_000), shifted]
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_missing_file_is_one_line_at_once(server, file, tmp_path, code):
    server.plan = [status(code)] * 9
    refused(file, tmp_path, f"status {code}")
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_then_given_up(server, file, tmp_path, code):
    server.plan = [status(code)] * 4
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT
    (tmp_path / "some.bin").unlink()
    server.plan = [status(code)] * 99
    before = len(server.requests)
    refused(file, tmp_path, f"status {code}", "5 times in a row")
    assert len(server.requests) - before == 5


def test_a_busy_server_says_how_long_to_wait(server, file, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "LONGEST_WAIT_SECONDS", 60.0)
    monkeypatch.setattr("time.sleep", waits.append)
    server.plan = [status(429, {"Retry-After": "7"}), status(429, {"Retry-After": "9999"})]
    fetch(file, tmp_path, "some")
    assert waits == [7, 60]


PAGES = {
    "declared": page("<!DOCTYPE html><html><title>Quota exceeded</title></html>"),
    "undeclared": page("\n <html><body>Please log in</body></html>", kind="application/octet-stream"),
}


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("has_checksum", [True, False])
def test_a_web_page_is_recognised(server, file, tmp_path, kind, has_checksum):
    server.plan = [PAGES[kind]] * 9
    message = refused(file if has_checksum else unknown(file), tmp_path)
    assert "web page" in message or "official one" in message
    if kind == "declared":
        assert "Quota exceeded" in message


@pytest.mark.parametrize("times", [1, 2])
def test_a_wrong_byte_is_never_used(server, file, tmp_path, times):
    server.plan = [wrong_byte] * times
    refused(file, tmp_path, "has the SHA-256")
    if times == 1:  # the server has got well
        assert fetch(file, tmp_path, "some").read_bytes() == CONTENT


def test_wrong_bytes_before_a_cut_are_fetched_again(server, file, tmp_path):
    """A beginning that a crash has spoiled: the checksum finds it, and the download starts once more."""
    (tmp_path / "some.bin.part").write_bytes(bytes(100_000))
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=100000-", None]


@pytest.mark.parametrize("extra", [0, 10])
def test_a_beginning_that_is_whole_or_too_long(server, file, tmp_path, extra):
    (tmp_path / "some.bin.part").write_bytes(CONTENT + bytes(extra))
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(server, file, tmp_path):
    server.files["some.bin"] = CONTENT + b"more"
    refused(file, tmp_path, "300004 bytes and the official one 300000")


def test_a_file_that_changes_on_the_server_is_not_patched_together(server, file, tmp_path):
    """Without a checksum only the server's own mark tells."""
    server.plan = [cut(100_000)] + [status(503)] * 5
    refused(unknown(file), tmp_path, "status 503")
    server.files["some.bin"], server.etag = bytes(reversed(CONTENT)), '"two"'
    assert fetch(unknown(file), tmp_path, "some").read_bytes() == bytes(reversed(CONTENT))


def test_mirrors_in_order(server, file, tmp_path):
    server.files["mirror.bin"] = CONTENT
    mirrored_file = dataclasses.replace(file, urls=(*file.urls, f"{server.url}/mirror.bin"))
    server.plan = [cut(100_000), *[status(503)] * 5]
    assert fetch(mirrored_file, tmp_path, "some").read_bytes() == CONTENT
    # The checksum is known, so the mirror goes on where the first server stopped.
    path, headers = server.requests[-1]
    assert path == "/mirror.bin"
    assert headers["Range"] == "bytes=100000-"


def test_without_a_checksum_a_mirror_starts_anew(server, file, tmp_path):
    server.files["mirror.bin"] = CONTENT
    mirrored_file = dataclasses.replace(unknown(file), urls=(*file.urls, f"{server.url}/mirror.bin"))
    server.plan = [cut(100_000), *[status(503)] * 5]
    assert fetch(mirrored_file, tmp_path, "some").read_bytes() == CONTENT
    assert "Range" not in server.requests[-1][1]


def test_all_mirrors_are_named_when_all_fail(server, file, tmp_path):
    mirrored_file = dataclasses.replace(file, urls=(f"{server.url}/a", "http://127.0.0.1:9/b"))
    refused(mirrored_file, tmp_path, "status 404", "cannot be reached")


def test_no_network_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DBENCH_OFFLINE", raising=False)
    refused(OfficialFile("x.bin", ("http://127.0.0.1:9/x.bin",)), tmp_path, "cannot be reached")


def test_the_confirm_step_of_google_drive(server, file, tmp_path):
    question = page(
        "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
        '<form id="download-form" action="/really" method="get">'
        '<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="abc">'
        '<input type="hidden" name="confirm" value="t"></form></body></html>'
    )
    server.files["uc"] = lambda handler, query: question(handler, b"")

    def really(handler, query):
        assert query == {"id": ["abc"], "confirm": ["t"]}
        handler.proper(CONTENT, stop=100_000 if len(server.requests) == 2 else None)

    server.files["really"] = really
    drive = dataclasses.replace(unknown(file), urls=(f"{server.url}/uc?export=download&id=abc",))
    assert fetch(drive, tmp_path, "some").read_bytes() == CONTENT
    assert [path.partition("?")[0] for path, _ in server.requests] == ["/uc", "/really"] * 2
    assert server.requests[-1][1]["Range"] == "bytes=100000-"


def test_a_page_after_the_confirm_step_is_recognised(server, file, tmp_path):
    question = page('<html><form id="download-form" action="/uc"></form></html>')
    server.files["uc"] = lambda handler, query: question(handler, b"")
    refused(dataclasses.replace(file, urls=(f"{server.url}/uc",)), tmp_path, "web page", "confirmed")


def test_an_answer_that_ends_early_is_a_cut(tmp_path):
    """urllib3 before 2 does not compare what came with what was announced."""
    job = download._Job("", OfficialFile("x", ()), tmp_path / "x.part", tmp_path / "x.json", silent, 1e18)
    with pytest.raises(download.Cut, match="after 3 of 5 bytes"):
        download._save(iter([b"abc"]), 0, 5, job)


@pytest.mark.parametrize(("has_checksum", "allowed"), [(True, True), (False, False)])
def test_a_file_without_checksum_is_not_taken_from_http_behind_https(file, tmp_path, has_checksum, allowed):
    hop, end = types.SimpleNamespace(url="https://a/x"), "http://b/x"
    answer = types.SimpleNamespace(history=[hop], url=end, ok=True, headers={}, close=lambda: None)
    session = types.SimpleNamespace(get=lambda *args, **options: answer)
    target = file if has_checksum else unknown(file)
    job = download._Job("https://a/x", target, tmp_path / "p", tmp_path / "s", silent, 1e18)
    if allowed:
        assert download._answer(session, job, {}) is answer
    else:
        with pytest.raises(download.Refused, match="https to http"):
            download._answer(session, job, {})


def test_a_compressed_answer_is_not_asked_for_and_a_gz_stays_one(server, file, tmp_path):
    def labelled(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")  # as some servers label files that are .gz
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    server.plan = [labelled]
    assert fetch(file, tmp_path, "some").read_bytes() == CONTENT
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_asks_nobody(server, file, tmp_path, monkeypatch, value):
    monkeypatch.setenv("DBENCH_OFFLINE", value)
    assert not fetch(file, tmp_path, "some").exists()
    assert server.requests == []


@pytest.mark.parametrize("value", ["", "0"])
def test_not_offline(server, file, tmp_path, monkeypatch, value):
    monkeypatch.setenv("DBENCH_OFFLINE", value)
    assert fetch(file, tmp_path, "some").exists()


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    server.files["far.bin"] = CONTENT
    fetch(OfficialFile("far.bin", ("http://example.invalid/far.bin",), sha256=SHA256), tmp_path, "some")
    assert server.requests[0][0] == "http://example.invalid/far.bin"


def test_too_little_room_is_one_line(server, file, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(BenchError, match=r"some\.bin takes 300 kB, more than .* has left; make room"):
        fetch(file, tmp_path, "some")


def test_a_folder_that_cannot_be_written_is_one_line(server, file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot be written") as error:
        fetch(file, tmp_path / "file", "some")
    assert "\n" not in str(error.value)
