"""Conformance cases for clients of `spectate.v1`, played by a scripted server."""
