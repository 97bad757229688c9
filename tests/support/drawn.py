"""What must hold for every figure that is drawn."""

from __future__ import annotations

import itertools

from matplotlib.figure import Figure
from matplotlib.text import Text


def assert_all_text_is_inside(figure: Figure) -> None:
    """Every visible text is on the page, and the labels of one axis do not touch."""
    figure.draw_without_rendering()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    unseen = [  # labels of ticks beyond the axis exist, but are not drawn
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axes.axison or not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    count = 0
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text().strip() or text in unseen:
            continue
        box = text.get_window_extent(renderer)
        tolerance = 1.5
        assert box.x0 >= page.x0 - tolerance, text
        assert box.x1 <= page.x1 + tolerance, text
        assert box.y0 >= page.y0 - tolerance, text
        assert box.y1 <= page.y1 + tolerance, text
        assert text.get_fontsize() >= 6
        count += 1
    assert count >= 3
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
    assert not any(
        first_title.overlaps(second_title) for first_title, second_title in itertools.combinations(titles, 2)
    )
    for axes in figure.axes:
        for axis, low, high in ((axes.xaxis, "x0", "x1"), (axes.yaxis, "y0", "y1")):
            view = sorted(axis.get_view_interval())
            labels = [
                tick.label1.get_window_extent(renderer)
                for tick in axis.get_major_ticks()
                if axes.axison and tick.label1.get_text() and view[0] <= tick.get_loc() <= view[1]
            ]
            labels.sort(key=lambda box: getattr(box, low))
            for first_label, second_label in itertools.pairwise(labels):
                assert getattr(first_label, high) <= getattr(second_label, low) + 1, axes.get_title()
