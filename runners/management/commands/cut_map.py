from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.management.errors import database_needed
from runners.maps.archive import ArchiveError
from runners.maps.cutting import cut_map
from runners.models import Race, RaceMap


class Command(BaseCommand):
    help = (
        "Cut the streets around a race's course out of the archive of vector tiles "
        "that SPECTATE_MAP_SOURCE names, and show them on the race's pages."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("race", metavar="RACE", help="its slug")

    def handle(self, *, race: str, **options: Any) -> None:
        if not settings.SPECTATE_MAP_SOURCE:
            raise CommandError(
                "Set SPECTATE_MAP_SOURCE to a PMTiles archive of vector tiles: a file, "
                "or an https address."
            )
        with database_needed():
            found = Race.objects.filter(slug=race).first()
            if found is None or not found.line:
                raise CommandError(f"There is no race {race!r} with a course.")
            try:
                made = cut_map(found, settings.SPECTATE_MAP_SOURCE, self._report)
            except ArchiveError as error:
                raise CommandError(str(error)) from error
        self.stdout.write(f"{made.race}: {made.tiles.count()} tiles.")

    def _report(self, made: RaceMap) -> None:
        self.stderr.write(f"{made.tiles_read} of {made.tiles_wanted} tiles read")
