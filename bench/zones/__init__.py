"""Attacks on privacy zones: simulated homes, runs and attackers."""
