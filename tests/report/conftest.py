"""The report's tests draw in their own process: starting others costs each of them more than drawing its few figures."""

import pytest

from disentangle_bench.report.figures import drawing


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(drawing, "available", lambda: 1)
