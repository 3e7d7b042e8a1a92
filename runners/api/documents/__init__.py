"""The documents of all interfaces at /api/: JSON for programs, pages for people."""
