"""Makes one file of a page's modules: each request costs a round trip over HTTP/1.1."""

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


def bundle(entry: Path) -> bytes:
    """Return one minified module with `entry` and all modules that it imports.

    Raises `subprocess.CalledProcessError` with esbuild's reason in `stderr`.
    """
    # Node.js may come with the Python packages.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        [ESBUILD, entry, "--bundle", "--minify", "--format=esm", "--log-level=error"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        check=True,
    ).stdout
