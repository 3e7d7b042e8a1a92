"""Cuts the map of a race out of an archive, and stores it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from runners.maps.archive import Archive, ArchiveError, open_archive
from runners.maps.corridor import MAX_ZOOM, Tile, bounds, corridor
from runners.models import MapTile, Race, RaceMap

logger = logging.getLogger(__name__)

# Tiles that are stored together, after which the progress is shown.
BATCH = 25
MAX_BYTES = 100 * 1024 * 1024


def cut_map(
    race: Race, source: str, report: Callable[[RaceMap], None] = lambda _: None
) -> RaceMap:
    """Store the map around a race's course, and delete the race's older ones.

    `source` is a file or an https address. Calls `report` after each batch of tiles.
    Raises `ArchiveError`; the older map is then kept.
    """
    race.maps.filter(completed_at=None).delete()
    made = RaceMap.objects.create(race=race, bounds=bounds(race.line))
    try:
        with open_archive(source) as archive:
            tiles = corridor(race.line, min(MAX_ZOOM, archive.max_zoom))
            made.max_zoom, made.tiles_wanted = tiles[-1].z, len(tiles)
            made.attribution = archive.attribution()
            made.save()
            _fill(made, archive, tiles, report)
    except ArchiveError as error:
        made.problem = str(error)[:200]
        made.save(update_fields=["problem"])
        raise
    made.completed_at = timezone.now()
    with transaction.atomic():
        made.save(update_fields=["completed_at"])
        race.maps.exclude(pk=made.pk).delete()
    return made


def start_cutting(race: Race) -> None:
    """Cut the map out of SPECTATE_MAP_SOURCE in a thread, after this transaction.

    An archive on a web server takes up to a minute; the race's page in the admin shows
    how far it is.
    """
    if settings.SPECTATE_MAP_SOURCE and race.line:
        thread = threading.Thread(target=_cut, args=[race], name="map", daemon=True)
        transaction.on_commit(thread.start)


def _cut(race: Race) -> None:
    try:
        cut_map(race, settings.SPECTATE_MAP_SOURCE)
    except ArchiveError as error:
        logger.warning("The map of %s was not cut: %s", race.slug, error)
    finally:
        connection.close()


def _fill(
    made: RaceMap,
    archive: Archive,
    tiles: list[Tile],
    report: Callable[[RaceMap], None],
) -> None:
    stored = 0
    for first in range(0, len(tiles), BATCH):
        rows = list(_rows(made, archive, tiles[first : first + BATCH]))
        stored += sum(len(row.body) for row in rows)
        if stored > MAX_BYTES:
            raise ArchiveError(f"The map has more than {MAX_BYTES >> 20} MiB.")
        MapTile.objects.bulk_create(rows)
        made.tiles_read = min(first + BATCH, len(tiles))
        made.save(update_fields=["tiles_read", "advanced_at"])
        report(made)
    if not stored:
        raise ArchiveError("The archive has no map of this area.")


def _rows(made: RaceMap, archive: Archive, tiles: list[Tile]) -> Iterator[MapTile]:
    for tile in tiles:
        body = archive.tile(tile)
        if body is not None:
            yield MapTile(map=made, z=tile.z, x=tile.x, y=tile.y, body=body)
