"""Offramp on the development host: a PyTorch model becomes a bundle."""
