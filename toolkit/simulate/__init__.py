"""Replay budgets and recorded answers against measured latencies, without hardware."""
