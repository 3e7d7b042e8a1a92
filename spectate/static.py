"""The project's and npm's static files: which are collected, bundled and compressed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.apps import StaticFilesConfig
from whitenoise.storage import CompressedStaticFilesStorage

from runners.views.bundle import ESBUILD, LIVE, LIVE_BUNDLE, bundle


class StaticFiles(StaticFilesConfig):
    """Omits files that no page requests, which are most of the bytes and the time."""

    ignore_patterns = [
        *StaticFilesConfig.ignore_patterns,
        *("*.map", "*-dev.mjs", "*.d.ts"),
        *("countries-10m.json", "countries-110m.json", "land-*.json"),
    ]


class BundledStaticFilesStorage(CompressedStaticFilesStorage):  # type: ignore[misc]
    """Makes the live page's bundle of what was collected."""

    def post_process(
        self, paths: dict[str, Any], dry_run: bool = False, **options: Any
    ) -> Iterator[Any]:
        # Without the packages of npm, pages load the modules one by one.
        if not dry_run and LIVE in paths and ESBUILD.exists():
            target = Path(self.path(LIVE_BUNDLE))
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(bundle(Path(self.path(LIVE))))
            paths = paths | {LIVE_BUNDLE: (self, LIVE_BUNDLE)}
        yield from super().post_process(paths, dry_run, **options)
