"""Advice: which exits to build, from what each is worth and what it costs."""
