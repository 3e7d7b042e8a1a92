"""Where the browser finds the map library, if it was installed."""

from __future__ import annotations

from functools import cache

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.templatetags.static import static

FILES = {
    "library": "vendor/maplibre-gl/maplibre-gl.mjs",
    "worker": "vendor/maplibre-gl/maplibre-gl-worker.mjs",
    "css": "vendor/maplibre-gl/maplibre-gl.css",
    "topojson": "vendor/topojson-client/topojson-client.min.js",
    "atlas": "vendor/world-atlas/countries-50m.json",
}


@cache
def map_assets() -> dict[str, str] | None:
    """Return the URLs of the map's files, or None when any of them is missing."""
    if not all(_exists(path) for path in FILES.values()):
        return None
    return {name: static(path) for name, path in FILES.items()}


def _exists(path: str) -> bool:
    # Collected for production, or found in place while developing.
    return bool(staticfiles_storage.exists(path) or finders.find(path))
