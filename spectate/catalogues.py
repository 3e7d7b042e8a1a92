"""Compiles the translations in locale/*.po to the format that gettext reads."""

from __future__ import annotations

import os
from pathlib import Path

import polib


def compile_catalogues(folder: Path) -> None:
    """Write the .mo file of each newer .po file.

    Called at each start, so that translations need no build step and no GNU gettext. If
    the folder is read-only, pages stay in English.
    """
    for source in folder.glob("*/LC_MESSAGES/*.po"):
        compiled = source.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            continue
        # Several processes may start at once, so each replaces the file atomically.
        made = compiled.with_suffix(f".{os.getpid()}")
        try:
            polib.pofile(str(source)).save_as_mofile(str(made))
            made.replace(compiled)
        except OSError:
            return
