"""The project's and npm's static files: which are collected, bundled and compressed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.apps import StaticFilesConfig
from django.core.management import CommandError
from whitenoise.storage import CompressedStaticFilesStorage

from runners.views.bundle import (
    ESBUILD,
    LIVE,
    LIVE_BUNDLE,
    MAP_LIBRARY,
    bundle,
    bundle_map,
)


class StaticFiles(StaticFilesConfig):
    """Omits files that no page requests, which are most of the bytes and the time."""

    ignore_patterns = [
        *StaticFilesConfig.ignore_patterns,
        *("*.map", "*-dev.mjs", "*.d.ts"),
        *("countries-10m.json", "countries-110m.json", "land-*.json"),
    ]


class BundledStaticFilesStorage(CompressedStaticFilesStorage):  # type: ignore[misc]
    """Makes the live page's bundle of what was collected, and the map library's."""

    def post_process(
        self, paths: dict[str, Any], dry_run: bool = False, **options: Any
    ) -> Iterator[Any]:
        if not dry_run and LIVE in paths and self._make_bundles(MAP_LIBRARY in paths):
            paths = paths | {LIVE_BUNDLE: (self, LIVE_BUNDLE)}
        yield from super().post_process(paths, dry_run, **options)

    def _make_bundles(self, has_map: bool) -> bool:
        """Make the bundles; without esbuild, delete an earlier one and return False.

        Pages then load the modules one by one, and the map library as npm has it.
        """
        target = Path(self.path(LIVE_BUNDLE))
        if not ESBUILD.exists():
            target.unlink(missing_ok=True)
            return False
        target.parent.mkdir(exist_ok=True)
        try:
            target.write_bytes(bundle(Path(self.path(LIVE))))
            if has_map:
                bundle_map(Path(self.path(MAP_LIBRARY)).parent)
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace")
            raise CommandError(f"esbuild failed: {reason}") from error
        return True
