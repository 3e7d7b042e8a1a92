"""Pictures of a race and of its entries: what they show, and how many."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from runners.models import Runner
from runners.views.races import listing, preview
from tests.factories.people import make_link
from tests.races.field import make_field, make_race

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


PICTURES = ("/races/ten/preview.png", "/races/ten/runners/2/card.png")


@pytest.mark.parametrize("url", PICTURES)
def test_a_network_may_request_some_pictures_per_minute(
    client: Client, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    make_field(make_race())
    assert client.get(url).status_code == 200
    monkeypatch.setattr(preview, "MAX_PICTURES", 0)
    refused = client.get(url)
    assert refused.status_code == 429
    assert refused["Retry-After"] == "60"


@pytest.mark.parametrize("url", PICTURES)
def test_no_database_thread_draws_and_a_long_course_is_thinned(
    client: Client, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    drawn: list[tuple[str, int]] = []

    def draw(texts: Any, line: Any, disc: Any = None) -> bytes:
        drawn.append((threading.current_thread().name, len(line)))
        return b""

    race = make_field(make_race())
    race.line = [[48 + n / 1e5, 2.0] for n in range(5_000)]
    race.save()
    monkeypatch.setattr(preview, "picture", draw)
    assert client.get(url).status_code == 200
    assert drawn == [("picture_0", 1_001)]


def test_an_entry_has_a_picture_of_what_everybody_may_see(client: Client) -> None:
    race = make_field(make_race())
    html = client.get("/races/ten/runners/2/").content.decode()
    assert '<meta property="og:title" content="Bob · Ten">' in html
    assert "/races/ten/runners/2/card.png" in html
    shared = client.get("/races/ten/?runner=bob").content.decode()
    assert '<meta property="og:title" content="Bob · Ten">' in shared
    assert "/races/ten/?runner=bob" in shared
    picture = client.get("/races/ten/runners/2/card.png")
    assert picture["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (1200, 630)

    Runner.objects.filter(code="bob").update(visibility=Visibility.PRIVATE)
    listing.forget_kept()
    assert client.get("/races/ten/runners/2/card.png").status_code == 404
    # A link may show it, but caches may not keep it.
    _, token = make_link(race=race)
    headers = {"Spectate-Share": token}
    for bib in ("1", "2"):
        answer = client.get(f"/races/ten/runners/{bib}/card.png", headers=headers)
        assert answer.status_code == 404
    assert "/2/card.png" not in client.get("/races/ten/?runner=bob").content.decode()
