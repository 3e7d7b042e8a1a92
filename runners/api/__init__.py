"""The HTTP API for organisers' systems, /api/v1/ (docs/api.md)."""
