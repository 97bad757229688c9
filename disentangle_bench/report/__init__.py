"""Tables, figures and pages made from run records. No torch here, and importing this imports no pandas either."""

import sys
from types import ModuleType
from typing import Any

from disentangle_bench.report.write import Report, write_report

__all__ = ["Report", "write_report"]


class _Callable(ModuleType):
    """A package that can be called: ``disentangle_bench.report("results")`` is ``write_report("results")``.

    Python binds the name of an imported package in the package above it, where it would hide a function.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Report:
        """Call ``write_report``."""
        return write_report(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
