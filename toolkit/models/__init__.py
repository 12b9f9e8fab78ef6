"""Backbone adapters, the seven early-exit branches, and the model that joins them."""
