"""The languages of pages: their selection, and complete translations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Runner, RunnerToken
from runners.views.races import listing
from tests.factories.people import make_follow, make_link, make_user
from tests.races.field import make_entry, make_race

pytestmark = pytest.mark.django_db(transaction=True)

# Attributes that screen readers read.
SPOKEN = {"aria-label", "title", "placeholder", "alt"}
SILENT = {"script", "style", "svg"}
# Texts that are the same in both languages, or data of the tests.
SAME = re.compile(
    r"\?|In|Spectate|English|Deutsch|Français|Español|Code|Link|PIN|Name|Pause|Ten|Ann|W|Red"
    r"|Live|Start|OwnTracks|Overland|GPSLogger|OsmAnd|Traccar Client|Browser|No|Pages"
    r"|iPhone|Android|Distance|Notifications|alice|bob|Longitude|Latitude|Bib|in|App|Place"
    r"|ann|Bob|Club|In W|\d+ \w+\.?, [\d:]+ UTC|Ann · Ten"
    r"|7.5 km in \d+:\d+|-?[\d.:, +±-]+|[\d.:,]* ?(km|min|h|s|x|m|/km)"
)


class Texts(HTMLParser):
    """The texts of a page and of its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._silent = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in SILENT
        for name, value in attrs:
            if name in SPOKEN and value:
                self.found.add(value)

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self._silent and (text := " ".join(data.split()).strip("·,.() ")):
            self.found.add(text)


@pytest.fixture(autouse=True)
def clear_cache() -> Iterator[None]:
    listing.forget_kept()
    yield


@pytest.fixture
def paths(client: Client, alice: User) -> list[str]:
    """Paths of pages with data, Alice's page among them."""
    race = make_race()
    ann = make_entry(race, "ann", "1", pace=0.3, category="W", visibility="public")
    ann.runner.account = alice
    ann.runner.save()
    make_follow(make_user("bob"), ann.runner, "pending")
    token, _ = RunnerToken.objects.issue(ann.runner, name="OwnTracks")
    _, link = make_link(ann.runner, label="Bob", pin="1234")
    return [
        *("/", "/races/ten/", "/runners/ann/", f"/s/{link}/", "/s/no/", "/share/"),
        *("/races/ten/standings/", "/races/ten/standings/?q=zz", "/nothing/"),
        *("/races/ten/runners/1/", "/me/", "/me/account/delete/"),
        *("/runners/ann/phones/", f"/runners/ann/phones/{token.pk}/"),
    ]


def texts(client: Client, path: str, language: str) -> set[str]:
    answer = client.get(path, headers={"Accept-Language": language})
    assert f'<html lang="{language}">' in answer.content.decode()
    return Texts(answer.content.decode()).found


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_no_text_of_a_page_stays_english(
    client: Client, alice_client: Client, paths: list[str], language: str
) -> None:
    for viewer, path in [
        *((alice_client, path) for path in paths),
        (client, "/sign-up/"),
    ]:
        english, translated = texts(viewer, path, "en"), texts(viewer, path, language)
        both = {text.removesuffix(" · Spectate") for text in english & translated}
        untranslated = {text for text in both if not SAME.fullmatch(text)}
        assert untranslated == set(), path
        assert len(translated) > 5


def test_the_language_is_the_browsers_until_one_is_chosen(
    client: Client, db: None
) -> None:
    austrian = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
    assert "Anmelden" in client.get("/sign-in/", headers=austrian).text
    assert "Sign in" in client.get("/sign-in/", headers={"Accept-Language": "ja"}).text
    chosen = client.get("/sign-in/?next=/me/&lang=fr", headers=austrian)
    assert "Se connecter" in chosen.text
    # Links to the other languages keep the rest of the query.
    assert 'href="?next=%2Fme%2F&amp;lang=es"' in chosen.text
    assert "Se connecter" in client.get("/sign-in/", headers=austrian).text
    assert client.get("/sign-in/?lang=xx", headers=austrian).status_code == 200


def test_texts_of_scripts_are_cached_while_they_are_valid(
    client: Client, db: None
) -> None:
    page = client.get("/", headers={"Accept-Language": "de"}).text
    address = re.search(r'href="(/words/de/\w+\.json)" crossorigin data-words', page)
    assert address is not None
    answer = client.get(address[1], headers={"Accept-Encoding": "gzip"})
    assert "immutable" in answer["Cache-Control"]
    # Each kilobyte counts on a slow connection.
    assert answer["Content-Encoding"] == "gzip" and len(answer.content) < 8_000
    words = json.loads(client.get(address[1]).content)
    assert words["Off course"] == "Neben der Strecke"
    assert words["{count} runner"] == ["{count} Läufer", "{count} Läufer"]
    english = client.get("/", headers={"Accept-Language": "en"}).text
    assert "data-words" not in english
    assert client.get("/words/en/1.json").status_code == 404


def test_numbers_and_dates_are_localised(client: Client, db: None) -> None:
    race = make_race()
    make_entry(race, "ann", "1", pace=0.3, visibility=Runner.Visibility.PUBLIC)
    page = client.get(
        "/races/ten/standings/", headers={"Accept-Language": "de"}
    ).content.decode()
    assert "10,0 km" in page
    assert re.search(r'<span data-metres="\d+">8,0 km</span>', page)
    assert "1 unterwegs" in re.sub(r"<[^>]+>", "", page)


def test_the_race_office_is_in_one_language(admin_client: Client) -> None:
    page = admin_client.get("/admin/", headers={"Accept-Language": "de"}).text
    assert '<html lang="en' in page
    assert "Race office" in page and "Hinzufügen" not in page
