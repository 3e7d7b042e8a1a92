"""The selection of static files, ours and those from npm, to collect and compress."""

from __future__ import annotations

from django.contrib.staticfiles.apps import StaticFilesConfig


class StaticFiles(StaticFilesConfig):
    """Leaves out what no page requests: most of the bytes, and of the time."""

    ignore_patterns = [
        *StaticFilesConfig.ignore_patterns,
        *("*.map", "*-dev.mjs", "*.d.ts"),
        *("countries-10m.json", "countries-110m.json", "land-*.json"),
    ]
