"""Measures what hostile connections cost everybody else."""
