from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import CommandError
from django.test import Client
from django.utils import timezone

import runners.views.bundle
import spectate.static
from runners.models import Entry, Follow, Race, Runner
from runners.snapshots.items import Items
from runners.views import topic_data
from runners.views.bundle import LIVE, LIVE_BUNDLE
from runners.views.overview import path_of
from spectate.static import BundledStaticFilesStorage
from tests.factories.people import make_link
from tests.factories.positions import make_latest

Visibility = Runner.Visibility


def make_race(slug: str, *, start: timedelta, ends: timedelta) -> Race:
    now = timezone.now()
    return Race.objects.create(
        slug=slug,
        name=slug.title(),
        start=now + start,
        ends=now + ends,
        line=[[53.36, -6.33], [53.37, -6.32]],
        length=1300,
    )


def page_of(content: bytes) -> dict[str, Any]:
    """Return the data that the page has for its script."""
    found = re.search(
        r'<script id="page" type="application/json">(.*?)</script>',
        content.decode(),
        re.DOTALL,
    )
    assert found is not None
    page: dict[str, Any] = json.loads(found[1])
    return page


def test_the_live_page_follows_everybody_public(client: Client, db: None) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert page_of(response.content)["follow"] == {"public": True, "tick": 1000}
    assert page_of(response.content)["account"] is None


def test_the_live_page_preloads_its_scripts(client: Client, db: None) -> None:
    html = client.get("/").content.decode()
    for module in ("live", "store", "polyline", "map/open", "map/layers"):
        assert f'<link rel="modulepreload" href="/static/js/{module}.js"' in html
    assert 'href="/live.json?public=1" crossorigin' in html


@pytest.fixture
def collected(tmp_path: Path) -> BundledStaticFilesStorage:
    """Files that were collected and bundled before."""
    storage = BundledStaticFilesStorage(location=tmp_path)
    for name in (LIVE, LIVE_BUNDLE):
        storage.save(name, ContentFile(b"let a = 1;"))
    return storage


def post_process(storage: BundledStaticFilesStorage) -> None:
    list(storage.post_process({LIVE: (storage, LIVE)}))


def test_without_esbuild_no_earlier_bundle_is_left(
    collected: BundledStaticFilesStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spectate.static, "ESBUILD", tmp_path / "missing")
    post_process(collected)
    assert not collected.exists(LIVE_BUNDLE) and collected.exists(LIVE)


def test_a_failure_of_esbuild_is_shown_with_its_reason(
    collected: BundledStaticFilesStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    esbuild = tmp_path / "esbuild"
    esbuild.write_text("#!/bin/sh\necho 'No loader for .x' >&2\nexit 1\n")
    esbuild.chmod(0o755)
    for module in (spectate.static, runners.views.bundle):
        monkeypatch.setattr(module, "ESBUILD", esbuild)
    with pytest.raises(CommandError, match=r"No loader for \.x"):
        post_process(collected)


def test_the_live_page_links_to_current_next_and_past_races(
    client: Client, db: None
) -> None:
    hour = timedelta(hours=1)
    make_race("on", start=-hour, ends=hour)
    make_race("next", start=30 * hour, ends=40 * hour)
    make_race("over", start=-9 * hour, ends=-hour)
    for page in ("/", "/races/", "/races/?q=E"):
        html = client.get(page).content.decode()
        assert ('href="/races/on/"' in html) is ("?q=" not in page)
        assert html.index("Next races") < html.index('href="/races/next/"')
        assert html.index("Past races") < html.index('href="/races/over/"')
        assert 'href="/races/over/standings/"' in html
        assert 'href="/races/over/#replay"' in html
        # The straight course runs from the south-west to the north-east.
        assert '<path d="M20.1 44.0L43.9 4.0"/>' in html
    assert "No race has “zz”" in client.get("/races/?q=zz").content.decode()


def test_only_anonymous_pages_may_be_kept_by_browsers(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("on", start=-hour, ends=hour)
    _, plain = make_link(race=race)

    def may_keep(path: str) -> bool:
        response = client.get(path)
        assert response.status_code == 200
        return "Spectate-Offline" in response.headers

    for path in (pages := ("/", "/races/on/")):
        assert may_keep(path), path
    for path in ("/races/on/?embed=1", "/races/on/?screen=1", f"/s/{plain}/"):
        assert not may_keep(path), path
    client.force_login(User.objects.create_user("mum"))
    for path in pages:
        assert not may_keep(path), path


def test_nobody_is_running_once_the_race_is_over(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("over", start=-9 * hour, ends=-timedelta(seconds=1))
    for code, status in (("ann", "finished"), ("bob", "started"), ("dan", "dnf")):
        runner = Runner.objects.create(code=code, name=code, visibility="public")
        Entry.objects.create(race=race, runner=runner, bib=code, status=status)
        make_latest(runner, seconds_ago=9)
    html = client.get("/races/over/").content.decode()
    assert re.findall(r'class="words">([^<]*)', html.split("<template")[0]) == [
        *("Finished", "Not finished", "Not finished"),
    ]


def test_unlisted_races_are_in_no_list(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("club-only", start=-hour, ends=hour)
    assert "Club-Only" in client.get("/races/?q=club").content.decode()
    race.visibility = Race.Visibility.LINK
    race.save()
    for page in ("/", "/races/", "/races/?q=club"):
        html = client.get(page).content.decode()
        assert "Club-Only" not in html
        assert "There are no races yet." in html or "q=" in page


def test_a_moved_course_has_a_new_thumbnail(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("on", start=-hour, ends=hour)
    before = client.get("/races/").content
    race.line = [[53.37, -6.32], [53.37, -6.33]]
    race.save()
    assert client.get("/races/").content != before
    # Across the dateline, a course without a second point, and none at all.
    assert path_of([(0, 179.9), (0, -179.9)]) == "M4.0 24.0L60.0 24.0"
    assert path_of([(0, 1), (0, 1)]) == path_of([]) == ""


def test_a_posted_link_has_a_title_and_a_picture(
    client: Client, transactional_db: None
) -> None:
    hour = timedelta(hours=1)
    race = make_race("on", start=-hour, ends=hour)
    race.line = [[48.0, 2.0], [48.1, 2.1]]
    race.save()
    html = client.get("/races/on/").content.decode()
    assert f'<meta property="og:title" content="{race.name}">' in html
    assert "/races/on/preview.png" in html
    picture = client.get("/races/on/preview.png")
    assert picture["Content-Type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    Race.objects.update(visibility=Race.Visibility.LINK)
    assert client.get("/races/on/preview.png").status_code == 404


def test_a_race_page_has_the_heights_of_its_course(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("on", start=-hour, ends=hour)
    for line, heights in (
        ([[48.0, 2.0, 10], [48.1, 2.0, 110]], [10, 110]),
        ([[48.0, 2.0, 10], [48.1, 2.0, 12]], None),
        ([[48.0, 2.0], [48.1, 2.0, 90]], None),
    ):
        race.line = line
        race.save()
        found = page_of(client.get("/races/on/").content)["heights"]
        ends = found and [found["values"][0], found["values"][-1]]
        assert ends == heights
    race.line = [[48.0, 2.0, 10], [48.1, 2.0, 110]]
    race.save()
    values = page_of(client.get("/races/on/").content)["heights"]["values"]
    assert values == sorted(values) and len(values) == 200


def test_a_race_is_not_in_its_own_list_of_past_races(client: Client, db: None) -> None:
    make_race("over", start=-9 * timedelta(hours=1), ends=-timedelta(hours=1))
    assert "Past races" not in client.get("/races/over/").content.decode()


def test_the_live_page_has_the_course_of_a_current_race(
    client: Client, db: None
) -> None:
    hour = timedelta(hours=1)
    make_race("on", start=-hour, ends=hour)
    make_race("next", start=30 * hour, ends=40 * hour)
    courses = page_of(client.get("/").content)["courses"]
    assert [course["slug"] for course in courses] == ["on"]
    assert courses[0]["course"]["line"]


def test_the_live_page_has_no_inline_script(client: Client, db: None) -> None:
    html = client.get("/").content.decode()
    for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", html, re.S):
        assert 'type="application/json"' in attributes or body == ""
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", html)


def test_live_data_cannot_end_its_script(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("on", start=-hour, ends=hour)
    race.name = "</script><script>alert(1)</script>"
    race.save()
    html = client.get("/races/on/").content.decode()
    assert "<script>alert" not in html
    assert page_of(client.get("/").content)["courses"][0]["name"] == race.name


def test_a_race_page_follows_its_race(client: Client, db: None) -> None:
    hour = timedelta(hours=1)
    race = make_race("on", start=-hour, ends=hour)
    response = client.get("/races/on/")
    assert response.status_code == 200
    assert "1.3 km" in response.content.decode()
    page = page_of(response.content)
    assert page["follow"]["races"] == ["on"]
    assert page["race"]["start"] == round(race.start.timestamp() * 1000)


def rows_of(client: Client, path: str) -> list[tuple[str, str]]:
    """Return code and state of each row that a page has without scripts."""
    html = client.get(path).content.decode()
    served = html[: html.index("<template")]
    return re.findall(r'data-runner="(\w+)" data-state="(\w+)"', served)


def test_pages_have_their_list_without_scripts(client: Client, bob: Runner) -> None:
    race = make_race("on", start=-timedelta(hours=1), ends=timedelta(hours=1))
    eve = Runner.objects.create(code="eve", name="Eve")
    dan = Runner.objects.create(code="dan", name="Dan")
    for bib, runner in enumerate((bob, eve, dan), 17):
        Entry.objects.create(race=race, runner=runner, bib=str(bib))
    make_latest(bob, seconds_ago=3600, progress=900)
    make_latest(eve, seconds_ago=5, progress=1234)
    make_latest(dan, seconds_ago=60, progress=300)
    wanted = [("eve", "live"), ("dan", "delayed"), ("bob", "lost")]
    assert rows_of(client, "/races/on/") == wanted
    response = client.get("/races/on/")
    assert "<b>1.2</b> km" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert rows_of(client, "/") == wanted


@pytest.mark.parametrize(
    ("minutes", "progress", "state", "is_estimated"),
    [
        (3, 7_000, "started", True),
        (1, 7_000, "started", False),
        (3, 7_000, "off_course", False),
        (3, 10_000, "started", False),
        (3, None, "started", False),
    ],
)
def test_the_first_list_estimates_phones_that_fell_silent_after_a_mat(
    minutes: int, progress: float | None, state: str, *, is_estimated: bool
) -> None:
    now = 1_800_000_000_000
    nodes = [[0, 5_000, 5_000, 5_000], [1_800, 10_000, 10_000, 10_000]]
    item: Any = {
        "fix": [now - minutes * 60_000, 0, 0, None, None, progress],
        "estimate": {"t": now - 480_000, "nodes": nodes},
        "state": state,
    }
    assert topic_data._is_estimated(item, now) == is_estimated


def test_lists_without_scripts_omit_hidden_runners(
    client: Client, alice: User, alice_client: Client, bob: Runner
) -> None:
    race = make_race("on", start=-timedelta(hours=1), ends=timedelta(hours=1))
    Entry.objects.create(race=race, runner=bob, bib="17")
    make_latest(bob, seconds_ago=5, progress=900)
    Follow.objects.create(user=alice, runner=bob, status=Follow.Status.BLOCKED)
    for path in ("/", "/races/on/"):
        assert len(rows_of(client, path)) == 1
        assert rows_of(alice_client, path) == []
    bob.visibility = Visibility.PRIVATE
    bob.save()
    topic_data.topics.clear()
    for path in ("/", "/races/on/"):
        assert rows_of(client, path) == []


def test_a_page_and_its_polls_share_a_read_of_the_race(
    bob: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_race("on", start=-timedelta(hours=1), ends=timedelta(hours=1))
    Entry.objects.create(race=race, runner=bob, bib="17")
    make_latest(bob, seconds_ago=5, progress=900)
    reads: list[int | None] = []
    read = topic_data._read

    def slow(race: int | None) -> Items:
        reads.append(race)
        clock.now += 5
        return read(race)

    clock: Any = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(topic_data, "time", clock)
    monkeypatch.setattr(topic_data, "_read", slow)
    # The second has waited for the read of the first.
    for asked in (100.0, 101.0):
        clock.now = asked
        items = topic_data.topic_items(race.pk, fresh=asked == 100)
        assert [item["code"] for item in items.values()] == ["bob"]
        clock.now = asked
        assert "bob" in topic_data.first_rows(race, None)
    assert len(reads) == 1


def test_those_who_ask_later_in_a_read_share_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runner who hides during a long read is not in later answers."""
    shown: dict[int, Any] = {1: {"code": "bob"}}
    reads, asked, may_end = [], threading.Semaphore(0), threading.Event()

    def read(race: int | None) -> Items:
        reads.append(dict(shown))
        asked.release()
        may_end.wait()
        return reads[-1]

    def monotonic() -> float:
        asked.release()
        return now

    now = 100.0
    monkeypatch.setattr(topic_data, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(topic_data, "_read", read)
    topics = topic_data.TopicReads()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(topics.read, None)
        for _ in range(3):
            asked.acquire()
        shown.clear()
        now = 103.0
        later = [pool.submit(topics.read, None) for _ in range(2)]
        for _ in later:
            asked.acquire()
        may_end.set()
        assert first.result().items
        assert [each.result().items for each in later] == [{}, {}]
    assert len(reads) == 2


def test_an_unknown_race_is_not_found(client: Client, db: None) -> None:
    assert client.get("/races/nowhere/").status_code == 404


def test_a_runner_page_follows_one_runner(client: Client, bob: Runner) -> None:
    response = client.get("/runners/bob/")
    assert response.status_code == 200
    assert page_of(response.content)["follow"]["runners"] == ["bob"]


def test_runner_codes_are_case_sensitive(client: Client, bob: Runner) -> None:
    assert client.get("/runners/BOB/").status_code == 404


@pytest.mark.parametrize(
    "visibility", [Visibility.PRIVATE, Visibility.FOLLOWERS, Visibility.RACE]
)
def test_a_hidden_runner_is_as_unknown_as_any_other(
    client: Client, bob: Runner, visibility: str
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=visibility)
    hidden = client.get("/runners/bob/")
    unknown = client.get("/runners/bib/")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.content.replace(b"bob", b"bib") == unknown.content


def test_a_runner_is_shown_to_accepted_followers(
    alice: User, alice_client: Client, charlie_client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.FOLLOWERS)
    follow = Follow.objects.create(user=alice, runner=bob)
    assert alice_client.get("/runners/bob/").status_code == 404
    follow.status = Follow.Status.ACCEPTED
    follow.save()
    assert alice_client.get("/runners/bob/").status_code == 200
    assert charlie_client.get("/runners/bob/").status_code == 404


def test_a_runner_is_shown_while_their_race_is_on(client: Client, bob: Runner) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.RACE)
    hour = timedelta(hours=1)
    race = make_race("on", start=2 * hour, ends=9 * hour)
    Entry.objects.create(race=race, runner=bob, bib="17")
    assert client.get("/runners/bob/").status_code == 404
    race.start -= 2 * hour
    race.save()
    response = client.get("/runners/bob/")
    assert response.status_code == 200
    assert page_of(response.content)["courses"][0]["slug"] == "on"


def test_the_live_page_has_the_follows_of_the_account(
    alice: User, alice_client: Client, bob: Runner
) -> None:
    Follow.objects.create(user=alice, runner=bob, status=Follow.Status.ACCEPTED)
    account = page_of(alice_client.get("/").content)["account"]
    assert account["follows"] == {"bob": "accepted"}
    assert account["follow"] == "/runners/CODE/follow/"


def test_the_favicon_has_a_default_path(client: Client, db: None) -> None:
    assert client.get("/favicon.ico").headers["Location"].endswith("favicon.svg")


def test_an_expired_form_has_our_design(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post("/sign-out/")
    assert response.status_code == 403
    assert "This form has expired" in response.content.decode()
