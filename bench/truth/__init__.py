"""Simulated runners whose true progress is known, and three baselines."""
