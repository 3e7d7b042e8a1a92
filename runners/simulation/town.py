"""The archive with the streets of the fictional town around the demo course."""

from __future__ import annotations

from pathlib import Path

# Written by `python -m town`.
ARCHIVE = Path(__file__).with_name("town.pmtiles")
