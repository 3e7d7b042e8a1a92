"""Which files of ours, and of what npm brings, are collected and compressed."""

from __future__ import annotations

from django.contrib.staticfiles.apps import StaticFilesConfig


class StaticFiles(StaticFilesConfig):
    """Leaves out what no page asks for: most of the bytes, and of the time it takes."""

    ignore_patterns = [
        *StaticFilesConfig.ignore_patterns,
        *("*.map", "*-dev.mjs", "*.d.ts"),
        *("countries-10m.json", "countries-110m.json", "land-*.json"),
    ]
