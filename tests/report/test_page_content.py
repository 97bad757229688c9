"""What the page's file holds, read without a browser."""

import json

import pytest

from disentangle_bench.report import write_report
from disentangle_bench.report.page import write as page_module
from support import records as synthetic
from support.page_data import HOSTILE, data


def test_embedded_json_ends_no_element_and_round_trips():
    value = {"x": [HOSTILE, float("nan"), "<!--", "]]>", "\ud800"], "y": 1}
    markup = page_module.embed(value)
    assert not set(markup) & set("<>&\u2028\u2029")
    assert json.loads(markup) == {"x": [HOSTILE, None, "<!--", "]]>", "\\ud800"], "y": 1}


def test_refresh_is_asked_for_only_while_watching(tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=1)
    write_report(tmp_path, figures=False, html=True)
    assert data(tmp_path)["meta"]["refresh"] == 0
    write_report(tmp_path, figures=False, html=tmp_path / "x.html", refresh=20)
    assert data(tmp_path, "x.html")["meta"]["refresh"] == 20


@pytest.mark.thorough
def test_pictures_stay_within_the_budget(tmp_path, monkeypatch):
    synthetic.write_grid(tmp_path, ("qlae", "vq_vae"), seeds=1)
    write_report(tmp_path, figures=False, html=tmp_path / "x.html")
    sizes = [len(run["pictures"]["traversals"]["source"]) + len(run["pictures"]["reconstructions"]["source"])
             for run in data(tmp_path, "x.html")["runs"]]  # fmt: skip
    monkeypatch.setattr(page_module, "LARGEST", max(sizes) + 10)
    write_report(tmp_path, figures=False, html=tmp_path / "x.html")
    content = data(tmp_path, "x.html")
    assert sum(run["pictures"] is not None for run in content["runs"]) == 1
    assert "pictures of 1 runs are not in this page" in content["notes"][-1]
