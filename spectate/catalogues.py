"""Translations: what stands in locale/*.po, in the form that gettext reads."""

from __future__ import annotations

import os
from pathlib import Path

import polib


def compile_catalogues(folder: Path) -> None:
    """Make the .mo of each .po that is newer.

    At each start, so that every way to start has them and none needs GNU gettext. Where
    nothing may be written pages stay English, as they do without a .mo.
    """
    for source in folder.glob("*/LC_MESSAGES/*.po"):
        compiled = source.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            continue
        # Several processes may start at once: each puts a whole file in place.
        made = compiled.with_suffix(f".{os.getpid()}")
        try:
            polib.pofile(str(source)).save_as_mofile(str(made))
            made.replace(compiled)
        except OSError:
            return
