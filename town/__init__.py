"""Larkmere, a fictional town around the demo course, as vector tiles."""
