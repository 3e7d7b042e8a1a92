"""Simulated runners over real websockets, for the demo and the tests."""
