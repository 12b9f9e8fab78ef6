"""Measure what every unit costs on this device, and keep it as a profile."""
