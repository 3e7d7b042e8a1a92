"""Maps of races: cutting them out of an archive, and their tiles."""

from __future__ import annotations

import gzip
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import mapbox_vector_tile
import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from runners.admin.race import RaceAdmin
from runners.maps import corridor as corridor_module
from runners.maps.archive import ArchiveError, RemoteFile, open_archive
from runners.maps.corridor import Tile, corridor, mercator
from runners.maps.cutting import cut_map, start_cutting
from runners.models import MapTile, Race, RaceMap
from runners.races.demo import demo_points
from runners.simulation.town import ARCHIVE
from runners.views.share_header import SHARE_HEADER
from tests.factories.people import make_link
from tests.http_server import Handler, http_server
from tests.races.field import make_race
from town.__main__ import encode
from town.plan import features

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def race(db: None) -> Race:
    """A race on the course in the fictional town."""
    race = make_race()
    race.line = [list(point) for point in demo_points()]
    race.save()
    return race


def tile_of(race: Race) -> str:
    """Return the address of the tile in which the race starts."""
    x, y = (int(part * 2**14) for part in mercator(*race.line[0][:2]))
    return f"/races/{race.slug}/map/{race.maps.get().pk}/14/{x}/{y}.mvt"


def test_the_map_of_a_race_is_cut_and_its_tiles_are_served(
    race: Race, client: Client, settings: Settings
) -> None:
    settings.SPECTATE_MAP_SOURCE = str(ARCHIVE)
    progress = io.StringIO()
    call_command("cut_map", race.slug, stdout=io.StringIO(), stderr=progress)
    assert re.search(r"(\d+) of \1 tiles read\n\Z", progress.getvalue())
    response = client.get(tile_of(race))
    layers = mapbox_vector_tile.decode(gzip.decompress(response.content))
    assert {"roads", "landuse", "buildings"} <= layers.keys()
    names = {road["properties"].get("name") for road in layers["roads"]["features"]}
    assert "Park Road" in names
    assert response["Content-Encoding"] == "gzip"
    assert "public" in response["Cache-Control"]
    page = client.get(f"/races/{race.slug}/").content.decode()
    assert "Larkmere is a fictional town" in page
    assert client.get(tile_of(race).replace("/14/", "/13/")).status_code == 204


def test_tiles_of_an_unlisted_race_need_its_link(race: Race, client: Client) -> None:
    cut_map(race, str(ARCHIVE))
    race.visibility = Race.Visibility.LINK
    race.save()
    _, token = make_link(race=race)
    assert client.get(tile_of(race)).status_code == 204
    response = client.get(tile_of(race), headers={SHARE_HEADER: token})
    assert response.status_code == 200
    assert "private" in response["Cache-Control"]


def test_a_new_map_replaces_the_old_one_when_it_is_complete(
    race: Race, tmp_path: Path
) -> None:
    old = cut_map(race, str(ARCHIVE))
    broken = tmp_path / "broken.pmtiles"
    broken.write_bytes(b"no archive of tiles" * 9)
    for source, words in ((broken, "not a PMTiles"), (tmp_path / "none", "No such")):
        with pytest.raises(ArchiveError, match=words):
            cut_map(race, str(source))
    assert RaceMap.objects.complete().get() == old
    new = cut_map(race, str(ARCHIVE))
    assert race.maps.get() == new
    assert not MapTile.objects.exclude(map=new).exists()


def test_a_place_that_the_archive_does_not_have_is_a_problem(race: Race) -> None:
    race.line = [[-33.9, 18.4], [-33.91, 18.41]]
    race.save()
    with pytest.raises(ArchiveError, match="no map of this area"):
        cut_map(race, str(ARCHIVE))
    assert "no map" in race.maps.get().problem


def test_the_upload_of_a_course_cuts_its_map(
    race: Race, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SPECTATE_MAP_SOURCE = str(ARCHIVE)
    # In this thread, so that the test sees the end.
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)
    start_cutting(race)
    assert RaceMap.objects.complete().filter(race=race).exists()
    shown = RaceAdmin(Race, admin.site).streets(race)
    assert re.fullmatch(r"Cut out on [\d-]+, \d+ tiles\.", shown)
    settings.SPECTATE_MAP_SOURCE = "/nowhere.pmtiles"
    start_cutting(race)
    assert RaceMap.objects.complete().filter(race=race).exists()
    shown = RaceAdmin(Race, admin.site).streets(race)
    assert shown.startswith("No new ones: /nowhere.pmtiles: No such file")


def test_a_map_whose_process_has_ended_is_not_shown_as_being_cut_out(
    race: Race,
) -> None:
    made = RaceMap.objects.create(
        race=race, bounds=[0, 0, 1, 1], tiles_wanted=90, tiles_read=25
    )
    office = RaceAdmin(Race, admin.site)
    assert office.streets(race).startswith("Being cut out, 25 of 90 tiles.")
    RaceMap.objects.update(advanced_at=made.advanced_at - timedelta(minutes=6))
    assert office.streets(race).startswith("Stopped at 25 of 90 tiles.")
    cut_map(race, str(ARCHIVE))
    assert not race.maps.get().has_stopped


def test_cut_map_names_what_is_missing(race: Race, settings: Settings) -> None:
    settings.SPECTATE_MAP_SOURCE = ""
    with pytest.raises(CommandError, match="SPECTATE_MAP_SOURCE"):
        call_command("cut_map", race.slug)
    settings.SPECTATE_MAP_SOURCE = str(ARCHIVE)
    with pytest.raises(CommandError, match="no race 'nothing'"):
        call_command("cut_map", "nothing")


class Ranges(Handler):
    """Serves the archive by ranges; closes the connection after each third."""

    protocol_version = "HTTP/1.1"
    served: ClassVar[list[str]] = []
    answers_ranges = True

    def do_GET(self) -> None:
        content = ARCHIVE.read_bytes()
        first, last = map(int, self.headers["Range"][len("bytes=") :].split("-"))
        body = content[first : last + 1] if self.answers_ranges else content
        self.served.append(self.headers["Range"])
        status = 206 if self.answers_ranges else 200
        self.reply(status, body, {"Content-Length": str(len(body))})
        self.close_connection = len(self.served) % 3 == 0


@contextmanager
def archive_server(handler: type[Ranges]) -> Iterator[str]:
    """Serve the archive on this machine; yields its address."""
    with http_server(handler) as port:
        yield f"http://127.0.0.1:{port}/town.pmtiles"


def read_tiles() -> list[tuple[object, ...]]:
    rows = MapTile.objects.order_by("z", "x", "y")
    return list(rows.values_list("z", "x", "y", "body"))


def test_an_archive_on_a_web_server_is_read_by_ranges(
    race: Race, settings: Settings
) -> None:
    settings.SPECTATE_PUSH_LOCAL = True
    with archive_server(Ranges) as url:
        cut_map(race, url)
        tiles = read_tiles()
    cut_map(race, str(ARCHIVE))
    assert tiles == read_tiles()
    assert Ranges.served[0] == "bytes=0-126"


def test_an_archive_at_a_private_or_plain_address_is_refused(
    settings: Settings,
) -> None:
    for url in ("https://127.0.0.1/a.pmtiles", "https://[::1]/a.pmtiles"):
        with pytest.raises(ArchiveError, match="private"), open_archive(url):
            pass
    with pytest.raises(ArchiveError, match="https"):
        RemoteFile("http://maps.example/a.pmtiles")
    # A name is checked when it is resolved, for each connection.
    with pytest.raises(ArchiveError, match="private"):
        RemoteFile("https://localhost/a.pmtiles").read(0, 127)


def test_a_server_without_ranges_is_refused(settings: Settings) -> None:
    settings.SPECTATE_PUSH_LOCAL = True
    handler = type("Whole", (Ranges,), {"answers_ranges": False})
    with (
        archive_server(handler) as url,
        pytest.raises(ArchiveError, match="200 instead of a range"),
        open_archive(url),
    ):
        pass


def test_a_corridor_is_one_tile_wide_on_each_side() -> None:
    # Exactly eastwards, with two points only.
    tiles = corridor([(53.35, -6.30), (53.35, -6.10)], 14)
    of_zoom = {tile for tile in tiles if tile.z == 14}
    xs = {tile.x for tile in of_zoom}
    assert xs == set(range(min(xs), max(xs) + 1))
    assert len({tile.y for tile in of_zoom}) == 3
    assert Tile(0, 0, 0) in tiles


def test_a_corridor_crosses_the_dateline() -> None:
    xs = {
        tile.x for tile in corridor([(0.0, 179.9), (0.0, -179.9)], 10) if tile.z == 10
    }
    assert {0, 1023} <= xs
    assert len(xs) <= 6


def test_zooms_with_too_many_tiles_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corridor_module, "MAX_TILES", 100)
    tiles = corridor([(53.0, -6.0), (54.0, -7.0)], 14)
    assert len(tiles) <= 100
    assert max(tile.z for tile in tiles) < 14


def test_the_town_has_streets_with_names_on_each_tile_of_the_course() -> None:
    with open_archive(str(ARCHIVE)) as archive:
        for tile in (t for t in corridor(demo_points(), 14) if t.z == 14):
            body = archive.tile(tile)
            assert body is not None
            assert "roads" in mapbox_vector_tile.decode(gzip.decompress(body))
    # The script still makes such tiles.
    assert {feature.layer for feature in features()} >= {"roads", "buildings", "water"}
    assert encode(Tile(14, 0, 0), []) == b""
