"""Encodes events and replies as frames of the two dialects, and parses runner ids."""
