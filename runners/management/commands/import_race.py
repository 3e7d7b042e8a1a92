from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.management.errors import database_needed
from runners.race_file.reading import RaceFileError, race_read


class Command(BaseCommand):
    help = "Import a race from a file of export_race, completely or not at all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--replace",
            action="store_true",
            help="replace a race with the same slug",
        )

    def handle(self, *, file: Path, replace: bool, **options: Any) -> None:
        try:
            with database_needed():
                race, counts = race_read(path=file, replace=replace)
        except RaceFileError as error:
            raise CommandError(f"{file}: {error} Nothing was imported.") from error
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from error
        self.stdout.write(
            f"{race.name} (/races/{race.slug}/): {counts['entry']:,} entries, "
            f"{counts['split']:,} splits and {counts['fix']:,} positions were imported."
        )
