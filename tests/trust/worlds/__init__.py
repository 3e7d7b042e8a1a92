"""The same race twice, with hidden runners at two different places."""

from __future__ import annotations
