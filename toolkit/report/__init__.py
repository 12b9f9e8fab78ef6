"""The report: one HTML file, readable without a network, that shows what a run's bundle is and how it behaved."""

from toolkit.report.page import write_report

__all__ = ["write_report"]
