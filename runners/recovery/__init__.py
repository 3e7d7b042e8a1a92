"""Backfill of positions that clients missed."""
