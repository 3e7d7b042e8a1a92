"""Bundles scripts: a request costs a round trip over HTTP/1.1, and each byte time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

# The live page's script; and the file with it and all modules that it imports, at the
# depth of those that name other files relative to their own address.
LIVE = "js/live.js"
LIVE_BUNDLE = "js/bundle/live.js"
ESBUILD = Path(settings.BASE_DIR, "node_modules/.bin/esbuild")


# The map library's files, as in npm's package.
MAP_LIBRARY = "vendor/maplibre-gl/maplibre-gl.mjs"
MAP_WORKER = "vendor/maplibre-gl/maplibre-gl-worker.mjs"
MAP_SHARED = "vendor/maplibre-gl/maplibre-gl-shared.mjs"
MAP_SOURCES = Path(settings.BASE_DIR, "node_modules/maplibre-gl/src")
# Like the package itself, whose fields would otherwise hide those of base classes.
MAP_OPTIONS = '{"compilerOptions": {"useDefineForClassFields": false}}'
MAP_LICENSE = (
    "/*! MapLibre GL JS, 3-Clause BSD: "
    "https://github.com/maplibre/maplibre-gl-js/blob/main/LICENSE.txt */"
)


def bundle(entry: Path) -> bytes:
    """Return one minified module with `entry` and all modules that it imports.

    Raises `subprocess.CalledProcessError` with esbuild's reason in `stderr`.
    """
    return _esbuild(entry)


def bundle_map(folder: Path) -> None:
    """Write the map library and its worker so that both import a third file.

    In npm's files the worker repeats half of the library: 364 kB instead of 284 as
    sent. Raises `subprocess.CalledProcessError` as `bundle` does.
    """
    library, worker, shared = (
        Path(name).stem for name in (MAP_LIBRARY, MAP_WORKER, MAP_SHARED)
    )
    _esbuild(
        f"{library}={MAP_SOURCES / 'index.ts'}",
        f"{worker}={MAP_SOURCES / 'source/worker.ts'}",
        "--splitting",
        f"--chunk-names={shared}",
        "--out-extension:.js=.mjs",
        f"--tsconfig-raw={MAP_OPTIONS}",
        f"--banner:js={MAP_LICENSE}",
        f"--outdir={folder}",
    )


def _esbuild(*options: str | Path) -> bytes:
    """Return what esbuild prints. Raises `subprocess.CalledProcessError`."""
    # Node.js may come with the Python packages.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        [
            ESBUILD,
            *options,
            "--bundle",
            "--minify",
            "--format=esm",
            "--log-level=error",
        ],
        env=os.environ | {"PATH": path},
        capture_output=True,
        check=True,
    ).stdout
