"""Offramp on the device: a bundle becomes answers within a compute budget.

This package imports numpy and msgspec alone; engines are imported when a bundle is loaded.
"""

from jetson.answer import Answer, UnitRun
from jetson.bundle import Bundle
from jetson.errors import OfframpError
from jetson.profiling.profile import LatencyProfile
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget

__version__ = "0.1.0"
__all__ = ["Answer", "Budget", "Bundle", "LatencyProfile", "OfframpError", "Runtime", "UnitRun"]
