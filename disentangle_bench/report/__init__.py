"""Tables, figures and pages made from run records. No torch here, and importing this imports no pandas either."""

from disentangle_bench.report.write import Report, write_report

__all__ = ["Report", "write_report"]
