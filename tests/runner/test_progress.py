"""Progress in a notebook: bars where widgets can be drawn, lines elsewhere."""

from __future__ import annotations

import warnings

import rich.console

from disentangle_bench.runner import progress


def test_a_notebook_without_widgets_gets_lines_and_no_warning(monkeypatch, capsys):
    """rich warns at every change of a bar if ipywidgets is missing, and draws nothing."""
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress.Display(2) as display:
            display.listen(progress.Event("run", "started"))
    assert not display.bars.drawn
    assert "[0/2] run started" in capsys.readouterr().err
    monkeypatch.setattr(progress, "find_spec", lambda name: object())
    assert progress.Bars().drawn
