"""The selection of the project's and npm's static files to collect and compress."""

from __future__ import annotations

from django.contrib.staticfiles.apps import StaticFilesConfig


class StaticFiles(StaticFilesConfig):
    """Omits files that no page requests, which are most of the bytes and the time."""

    ignore_patterns = [
        *StaticFilesConfig.ignore_patterns,
        *("*.map", "*-dev.mjs", "*.d.ts"),
        *("countries-10m.json", "countries-110m.json", "land-*.json"),
    ]
