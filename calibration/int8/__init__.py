"""Eight-bit units: what range each activation needs, and the unit's graph with that range in it."""
