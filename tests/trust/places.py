"""Places with coordinates of their own: a digit anywhere gives a leak away."""

from __future__ import annotations

import json
import re

import polyline

NUMBER = re.compile(r"-?\d{1,3}\.\d{4,}")
TRAIL = re.compile(r'"trail":\s*("(?:[^"\\]|\\.)*")')


class Places:
    """Makes places and knows each again in any text."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._number = 0

    def make(
        self, name: str, lat: float = 45.0, lng: float = 8.0
    ) -> tuple[float, float]:
        """Return a place of its own, at most 200 m from the others."""
        self._number += 1
        # No two are alike in either coordinate, nor is any a round number.
        lat = round(lat + self._number * 0.00003 + 0.00001, 5)
        lng = round(lng + self._number * 0.00003 + 0.00002, 5)
        self.names |= {f"{lat:.5f}": name, f"{lng:.5f}": name}
        return lat, lng

    def found(self, text: str) -> set[str]:
        """Return the names of the places in a text, also in the lines of trails."""
        numbers = [float(number) for number in NUMBER.findall(text)]
        for trail in TRAIL.findall(text):
            for place in polyline.decode(json.loads(trail), 5):
                numbers += place
        keys = {f"{number:.5f}" for number in numbers}
        return {name for key, name in self.names.items() if key in keys}
