"""The earth as a sphere: its mean radius, and metres per degree of latitude."""

from __future__ import annotations

import math

# Mean radius of the earth (IUGG).
EARTH_RADIUS_M = 6_371_008.8
METRES_PER_DEGREE = math.radians(1) * EARTH_RADIUS_M
