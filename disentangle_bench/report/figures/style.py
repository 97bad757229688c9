"""How figures look and are saved: one style, colour-blind-safe, readable at the width of a printed page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Inches of a full-width figure; text is set for printing at this size."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette without its yellow, which white paper swallows."""
MARKERS = "os^Dvp<>"
LINES = ("-", "--", ":", "-.")

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    # Names from records are text, even with dollar signs in them.
    "text.parse_math": False,
    "text.usetex": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own defaults and this style on top, whatever the user's settings are; they are back afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def figure(width: float, height: float) -> Figure:
    """A figure of this many inches that pyplot knows nothing of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height))
    FigureCanvasAgg(made)
    return made


def save(made: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf, without dates: the same figure gives the same bytes."""
    import matplotlib

    targets = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")]
    for target, metadata in zip(targets, ({"Software": None}, {"CreationDate": None}), strict=True):
        with atomic_path(target) as temporary:
            made.savefig(temporary, metadata=metadata)
        # The layout is found by the first save; finding it again takes as long as drawing. A place holder ("none")
        # would still cost a drawing.
        with matplotlib.rc_context({"figure.constrained_layout.use": False, "figure.autolayout": False}):
            made.set_layout_engine(None)
    return targets


def colour(place: int) -> str:
    """The colour of the setup at this place of a table."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """Its marker; colour and marker together repeat after 56 setups."""
    return MARKERS[place % len(MARKERS)]


def line(place: int) -> str:
    """Its line style, which changes when the colours repeat."""
    return LINES[place // len(COLOURS) % len(LINES)]


def label(name: str, width: int = 24, lines: int = 3) -> str:
    """A long name broken into lines, at spaces where it can be; what does not fit in ``lines`` becomes an ellipsis."""
    wrapped = textwrap.wrap(name, width, break_long_words=True) or [name]
    return "\n".join(wrapped[:lines]) + ("…" if len(wrapped) > lines else "")
