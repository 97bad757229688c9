"""The report's tests draw in their own process: starting others costs more than drawing a few figures."""

import pytest

from disentangle_bench.report.figures import drawing


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(drawing, "available", lambda: 1)
