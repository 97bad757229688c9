"""Style and save figures: one style, safe for colour-blind readers, readable at the width of a printed page."""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import atomic_path
from disentangle_bench.report import labels
from disentangle_bench.report.labels import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Width of a full-width figure in inches; text is set for printing at this size."""

MARKERS = "os^Dvp<>"
"""Marks of setups, which the page draws in the same order (``SHAPES`` in page/assets/dom.js)."""
LINES = ("-", "--", ":", "-.")

_DPI = 200
_FONT, _LIGHT_FONT = "DejaVu Sans", "dbench light"
_SIGNS = range(0x2190, 0x2270)
"""Arrows and mathematical operators."""

_STYLE = {
    "font.family": _FONT,
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
    "savefig.dpi": _DPI,
    "pdf.fonttype": 42,
    # Names from records are text, even with dollar signs in them.
    "text.parse_math": False,
    "text.usetex": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Apply this style on top of matplotlib's defaults within the ``with`` block, then restore the user's settings."""
    _load_matplotlib()
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


@contextmanager
def light_font() -> Iterator[None]:
    """Draw with a copy of the font that has only European letters and common signs, within the ``with`` block.

    Each PDF holds those characters of the font that it needs, and extracting them from the whole font takes as long as
    everything else about a PDF. Other characters still come from the whole font. Figures must be saved in the block.
    """
    from fontTools import subset
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager, rc_context

    font = TTFont(font_manager.findfont(_FONT), recalcTimestamp=False)  # the same bytes every time
    options = subset.Options(glyph_names=True, name_IDs=["*"], layout_features=["*"])
    options.drop_tables += ["FFTM"]  # an editor's dates
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2010, 0x2030), *_SIGNS])
    subsetter.subset(font)
    for number in (1, 4, 16):
        font["name"].setName(_LIGHT_FONT, number, 3, 1, 0x409)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "light.ttf")
        font.save(path)
        font_manager.fontManager.addfont(path)
        try:
            with rc_context({"font.family": [_LIGHT_FONT, _FONT]}):
                yield
        finally:
            fonts = font_manager.fontManager.ttflist
            fonts[:] = [entry for entry in fonts if entry.fname != path]


def _load_matplotlib() -> None:
    """Import matplotlib and pyplot, which seaborn needs, with the backend agg instead of the user's.

    The environment or a matplotlibrc may ask for another one: a notebook's kernel passes its own backend on to the
    processes it starts, where it may not exist.
    """
    if "matplotlib.pyplot" in sys.modules:
        return
    backend = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        import matplotlib.pyplot  # noqa: F401
    finally:
        del os.environ["MPLBACKEND"]
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, which pyplot does not manage."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    empty_figure = Figure(figsize=(width, height), dpi=_DPI)  # text is laid out as it is saved
    FigureCanvasAgg(empty_figure)
    return empty_figure


def save(drawn: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf, without dates, so that the same figure gives the same bytes."""
    import matplotlib

    targets = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")]
    # With a layout engine, each save lays the figure out and draws it once more. These settings would bring the engine
    # back after the first save, and a placeholder ("none") would still cost that drawing.
    with matplotlib.rc_context({"figure.constrained_layout.use": False, "figure.autolayout": False}):
        if (engine := drawn.get_layout_engine()) is not None:
            engine.execute(drawn)
            drawn.set_layout_engine(None)
        for target, metadata in zip(targets, ({"Software": None}, {"CreationDate": None}), strict=True):
            with atomic_path(target) as temporary:
                drawn.savefig(temporary, metadata=metadata)
    return targets


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of one setup."""

    color: str
    marker: str
    linestyle: str


def looks(setups: Iterable[tuple]) -> dict[tuple, Look]:
    """Return the look of each setup (a tuple of SETUP): its model's colour, whatever else is drawn.

    Colour and marker together tell 56 models apart; settings of one model share its colour and differ in marker and
    line style.
    """
    return {
        setup: Look(
            COLOURS[number % len(COLOURS)],
            MARKERS[number % len(MARKERS)],
            LINES[number // len(COLOURS) % len(LINES)],
        )
        for setup, number in labels.look_numbers(setups).items()
    }


def label(name: str, width: int = 24, lines: int = 3) -> str:
    """Break a long name into lines, at spaces where possible; text beyond ``lines`` lines becomes an ellipsis."""
    wrapped = textwrap.wrap(name, width, break_long_words=True) or [name]
    return "\n".join(wrapped[:lines]) + ("…" if len(wrapped) > lines else "")


def heat(axis: Axes, matrix: npt.ArrayLike, written: bool = False, **options: Any) -> QuadMesh:
    """Draw a matrix as a heat map, cell (row, column) around (column + 0.5, row + 0.5), row 0 on top; NaN stays empty.

    ``written`` prints the numbers in the cells. ``options`` are those of matplotlib's ``pcolormesh``. Seaborn's
    ``heatmap`` looks the same but draws the whole figure once more for each map, to see whether its labels overlap.
    """
    values = np.asarray(matrix, dtype=float)
    mesh = axis.pcolormesh(np.ma.masked_invalid(values), **options)
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    if written:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = _luminance(mesh.cmap(mesh.norm(value))) < 0.41
                axis.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=6,
                          color="white" if dark else "0.15")  # fmt: skip
    return mesh


def _luminance(colour: npt.ArrayLike) -> float:
    """Return the relative luminance of an sRGB colour, from 0 (black) to 1 (white), as WCAG 2 defines it."""
    channels = np.asarray(colour, dtype=float)[:3]
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def ticks(axis: Axes, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> None:
    """Label the rows and columns of a heat map."""
    if rows is not None:
        axis.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    if columns is not None:
        axis.set_xticks(np.arange(len(columns)) + 0.5, columns)


def logarithmic(axis: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers as labels, since the style does not render math in texts."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    axis.set(**{f"{which}scale": "log"})
    one = axis.xaxis if which == "x" else axis.yaxis
    low, high = sorted(one.get_view_interval())
    subs = (1.0,) if high / low > 1000 else (1.0, 2.0, 5.0) if high / low > 30 else (1.0, 3.0)
    one.set_major_locator(LogLocator(subs=subs) if high / low > 8 else MaxNLocator(4))
    one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    one.set_minor_locator(NullLocator())
    one.set_minor_formatter(NullFormatter())
