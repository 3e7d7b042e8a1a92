"""Passings of timing mats: received, stored as they came, and turned into splits."""
