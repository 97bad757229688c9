import pytest

from disentangle_bench.data import download
from support.bad_server import serving


@pytest.fixture
def server(monkeypatch):
    """A local server, short waits between attempts, and no proxies or prohibitions from outside."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "DBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(download, "LONGEST_WAIT_SECONDS", 0.05)
    with serving() as running:
        yield running
