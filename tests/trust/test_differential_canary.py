"""No byte that a viewer without the right gets depends on where a hidden runner is.

The same race is run twice, with hidden runners at two different places, a virtual clock
and seeded randomness (`worlds/`). What anybody may get is compared byte by byte: pages
and downloads, frames of both dialects, replies to phones, decrypted pushes, mails, the
log and the metrics. The doors are derived from the URLconf and from the tables of
commands and kinds of news, so that a new one fails here until a world knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from runners.consumers.commands import COMMANDS
from runners.models.news import KINDS, Kind
from tests.servers import ROOT
from tests.trust.worlds import play as play_module
from tests.trust.worlds.play import FOLLOWS, SHOWS, Play, play
from tests.trust.worlds.scene import WITHOUT_RIGHT
from tests.trust.worlds.urls import QUERIES, SHOW_NOTHING

pytestmark = pytest.mark.django_db


class LeftOut(NamedTuple):
    """A part of a text that may differ for one viewer, or for all, and why."""

    viewer: str
    door: str
    part: str
    reason: str


LEFT_OUT = (
    LeftOut(
        "",
        "metrics",
        r"spectate_notifications_\w+({.*})? .*|'Content-Length': '\d+'",
        "They count the notifications of all runners. Only operators read them: "
        "the proxy keeps /metrics from everybody else (docs/deploying.md).",
    ),
    LeftOut(
        "",
        "metrics",
        r"spectate_(cpu_seconds_total|loop_lag_seconds) .*",
        "They are readings of the process's clock, which begins elsewhere.",
    ),
    LeftOut(
        "marshal",
        "admin/runners/race/<int:pk>/desk.json",
        r'"(status|state|fix|contact|progress|heard)": [^,}]*|'
        r"'Content-Length': '\d+'",
        "Who reads a race has the right to see how its entries are, also in the "
        "race office of a private runner. Places of calls for help are compared.",
    ),
    LeftOut(
        "marshal",
        "admin/runners/entry/",
        r'(?s)<td class="field-(status|signal|last_contact|battery|app)[^>]*>.*?</td>|'
        r"'Content-Length': '\d+'",
        "The list of entries has the status and signal that the desk has.",
    ),
    LeftOut(
        "marshal",
        "admin/runners/race/<int:pk>/start-list.<str:kind>",
        r"(?s).*",
        "A start list has the status of every entry.",
    ),
    *(
        LeftOut(
            "marshal",
            f"admin/runners/race/<int:pk>/accounted{kind}",
            r"(?s).*",
            "The list of everybody by where they are has what the desk has.",
        )
        for kind in ("/", ".csv")
    ),
)
# What has to differ for those with the right, so that equal texts prove something.
DIFFERS = {
    *((viewer, route) for viewer, routes in SHOWS.items() for route in routes),
    *(("fan", door) for door in ("push", "mail", "commands", "seed socket, early")),
    *(("fan", f"socket, runners, {when}") for when in ("early", "late")),
    ("mum", "mail"),
}
# The modules that may send mails. The last one's are about accounts and know no runner;
# all mails of the others are compared.
MAILING = {
    "runners/notifying/account_mails.py",
    "runners/notifying/mail.py",
    "runners/notifying/mail_server.py",
    "runners/views/account/adapter.py",
}


@pytest.fixture(scope="module")
def first(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Play]:
    """One world, after its race.

    In the order of this file, each world is played in the set-up of a separate test. In
    others, the set-up of the first test may play both.
    """
    with django_db_blocker.unblock():
        try:
            yield play(0)
        finally:
            # Also of a race that was not played to its end: later tests have the same
            # names.
            call_command("flush", verbosity=0, interactive=False)


@pytest.fixture(scope="module")
def worlds(first: Play) -> tuple[Play, Play]:
    """Both worlds, after their race."""
    return first, play(1)


def texts_of(world: Play) -> dict[tuple[str, str], list[str]]:
    """Return what viewers got, without what may differ."""
    found = {key: list(texts) for key, texts in world.record.texts.items()}
    for viewer, door, part, _ in LEFT_OUT:
        for key in found:
            if key[1] == door and viewer in ("", key[0]):
                found[key] = [re.sub(part, "", text) for text in found[key]]
    return found


def test_every_field_of_a_query_is_sent(first: Play) -> None:
    queries = " ".join(query for some in QUERIES.values() for query in some)
    sent = SHOW_NOTHING.union(re.findall(r"(\w+)=", queries))
    # Django's lists and forms of the race office have many, for those with permissions.
    unknown = {
        route: read - sent
        for route, read in first.fields.items()
        if read - sent and not route.startswith("admin/")
    }
    assert unknown == {}, "Add these fields to QUERIES."
    assert set().union(*first.fields.values()) >= sent - {"embed", "screen"}


def test_no_byte_for_others_depends_on_a_hidden_place(
    worlds: tuple[Play, Play],
) -> None:
    one, other = map(texts_of, worlds)
    compared = [
        key
        for key in sorted(one.keys() | other.keys())
        if key[0] in (*WITHOUT_RIGHT, "operator")
    ]
    differing = [
        f"{viewer} at {door!r}:\n  {a[:300]}\n  {b[:300]}"
        for viewer, door in compared
        for a, b in _differing_lines(
            one.get((viewer, door), []), other.get((viewer, door), [])
        )
    ]
    sizes = [sum(map(len, one.get(key, []))) for key in compared]
    print(f"{len(compared)} doors of viewers, {sum(sizes)} bytes")
    assert not differing, "\n".join(differing)


def _differing_lines(one: list[str], other: list[str]) -> Iterator[tuple[str, str]]:
    """Return the first lines that differ, if any do."""
    if one != other:
        lines = "\n".join(one).split("\n"), "\n".join(other).split("\n")
        longest = max(map(len, lines))
        padded = ([*of, *[""] * (longest - len(of))] for of in lines)
        yield next((a, b) for a, b in zip(*padded, strict=True) if a != b)


def test_hidden_places_are_shown_to_those_with_the_right(
    worlds: tuple[Play, Play],
) -> None:
    one, other = (world.record.texts for world in worlds)
    assert {key for key in DIFFERS if one.get(key) == other.get(key)} == set()


def test_every_command_of_the_websocket_is_tried() -> None:
    assert play_module.COMMANDS.keys() == {
        message.__struct_config__.tag for message in COMMANDS
    }
    followed = {field for follow in FOLLOWS.values() for field in follow}
    assert followed >= {"runners", "races", "public", "share"}


def test_every_kind_of_news_is_delivered(worlds: tuple[Play, Play]) -> None:
    for world in worlds:
        kinds = {
            text.partition('"tag": "')[2].partition(" ")[0]
            for text in world.record.texts["stranger", "push"]
        }
        # The others are for webhooks only.
        assert kinds == {*KINDS, Kind.FINE}


def test_no_other_module_sends_mails() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "runners").rglob("*.py")
        if "django.core.mail" in path.read_text()
    }
    assert found == MAILING, "Compare their mails in worlds/play.py."
