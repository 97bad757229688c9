"""Official files, small and in the real format, and a file on a local server."""

import pytest

from disentangle_bench.data.dataset import OfficialFile
from support.downloads import CONTENT, SHA256
from support.official_files import MAKERS


@pytest.fixture
def file(server):
    server.files["some.bin"] = CONTENT
    return OfficialFile("some.bin", (f"{server.url}/some.bin",), size=len(CONTENT), sha256=SHA256)


@pytest.fixture(params=MAKERS)
def case(request, tmp_path):
    folder = tmp_path / "official"
    folder.mkdir()
    return MAKERS[request.param](folder)
