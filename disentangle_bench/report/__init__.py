"""Make tables, figures and pages from run records. Importing this package imports neither torch nor pandas.

The package itself can be called: ``disentangle_bench.report(out, ...)`` is ``write_report(out, ...)``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from disentangle_bench.report.write import Report, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "figure", "write_report"]


def figure(
    out: str | os.PathLike[str], name: str, *, dataset: str | None = None, protocol: str | None = None
) -> Figure:
    """Return one figure of the report of the results folder ``out`` as a matplotlib object.

    ``name`` is the figure's file name without its extension: "scores", "qlae-matrices". ``dataset`` and ``protocol``
    choose one of several tables; without them, the first table that has the figure is used. Raises ``BenchError`` if
    there is no such figure.
    """
    from disentangle_bench.report.figures.drawing import figure as draw

    return draw(Path(out), name, dataset=dataset, protocol=protocol)


class _Callable(ModuleType):
    """A package that can be called: ``disentangle_bench.report("results")`` is ``write_report("results")``.

    Importing a subpackage binds its name in the parent package, where it would hide a function of that name.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Report:
        """Call ``write_report``."""
        return write_report(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
