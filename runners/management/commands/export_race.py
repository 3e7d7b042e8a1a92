from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.management.errors import database_needed
from runners.models import Race
from runners.race_file.writing import race_write


class Command(BaseCommand):
    help = (
        "Write a race into one file for import_race: course, waves, "
        "checkpoints, entries, runners, splits and tracks, without tokens "
        "and accounts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("file", type=Path, help="a name like park.jsonl.gz")
        parser.add_argument(
            "--without-tracks",
            action="store_true",
            help="leave out positions, except the last one of each runner",
        )

    def handle(
        self, *, slug: str, file: Path, without_tracks: bool, **options: Any
    ) -> None:
        with database_needed():
            race = Race.objects.filter(slug=slug).first()
            if race is None:
                raise CommandError(f"There is no race {slug}.")
            try:
                counts = race_write(race=race, path=file, tracks=not without_tracks)
            except OSError as error:
                raise CommandError(f"Cannot write {file}: {error.strerror}.") from error
            left_out = race.entries.count() - counts["entry"]
        self.stdout.write(
            f"{race.name}: {counts['entry']:,} entries, {counts['split']:,} splits "
            f"and {counts['fix']:,} positions are in {file}."
        )
        if left_out > 0:
            self.stdout.write(
                f"Left out: {left_out:,} whose runners have not accepted their entry."
            )
