"""The URLs of the map library, if it is installed, and of our JavaScript modules."""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.templatetags.static import static

from runners.views.bundle import (
    LIVE,
    LIVE_BUNDLE,
    MAP_LIBRARY,
    MAP_SHARED,
    MAP_WORKER,
)

FILES = {
    "library": MAP_LIBRARY,
    # Empty in npm's package.
    "shared": MAP_SHARED,
    "worker": MAP_WORKER,
    "css": "vendor/maplibre-gl/maplibre-gl.css",
    "topojson": "vendor/topojson-client/topojson-client.min.js",
    "atlas": "vendor/world-atlas/countries-50m.json",
}
# `import … from "./x.js"`, on one or more lines, but not in type comments.
IMPORT = re.compile(r'^(?:import|export)\b[^;"]*?\bfrom "(\.[^"]+)";', re.MULTILINE)


@cache
def map_assets() -> dict[str, str] | None:
    """Return the URLs of the map's files, or None if any of them is missing."""
    if not all(_exists(path) for path in FILES.values()):
        return None
    return {name: static(path) for name, path in FILES.items()}


@cache
def live_scripts(*, has_map: bool) -> list[str]:
    """Return the URLs of the live page's script, first, and of what it imports.

    Collected files have all of it in one file.
    """
    if not settings.WHITENOISE_USE_FINDERS and staticfiles_storage.exists(LIVE_BUNDLE):
        return [static(LIVE_BUNDLE)]
    found = modules(LIVE) + (modules("js/map/open.js") if has_map else [])
    return list(dict.fromkeys(found))


@cache
def modules(entry: str) -> list[str]:
    """Return the URLs of a module and of all its imports, the entry first.

    A page that lists them all has them fetched in parallel instead of level by level,
    which is most of the wait on a line with long round trips.
    """
    found = {entry: None}
    waiting = [entry]
    while waiting:
        module = waiting.pop(0)
        file = finders.find(module)
        if file is None:
            continue
        for name in IMPORT.findall(Path(file).read_text()):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(module), name))
            if other not in found:
                found[other] = None
                waiting.append(other)
    return [static(module) for module in found]


def _exists(path: str) -> bool:
    # Collected in production, and found in place in development.
    return bool(staticfiles_storage.exists(path) or finders.find(path))
