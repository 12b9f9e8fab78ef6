"""Decide, boundary by boundary, what runs next: budgets, the slowdown filter, policies."""
