"""Offramp on the device: a bundle becomes answers within a compute budget.

This package imports numpy and msgspec alone; engines are imported when a bundle is loaded.
"""
