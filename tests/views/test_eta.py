from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import AsyncClient, Client
from django.utils import timezone

from runners.models import (
    LatestPosition,
    Position,
    Race,
    Runner,
    Split,
)
from runners.races import predictions, race_data
from runners.serving.process import Process
from runners.subscriptions import arrival_reads
from runners.units.clock import milliseconds, now_ms
from runners.views.anybody import _parts_and_headers
from runners.views.races.eta import _parsed
from tests.factories.people import make_follow, make_link
from tests.races.field import LENGTH_M, METRES_PER_DEGREE, make_entry, make_race
from tests.views import before_django
from tests.waiting import eventually

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


@pytest.fixture(autouse=True)
def clear_cache() -> Iterator[None]:
    yield
    predictions._kept.clear()
    _parts_and_headers.cache_clear()


def get_eta(client: Client, at: object, query: str = "", **headers: str) -> Any:
    return client.get(f"/races/ten/eta.json?at={at}{query}", headers=headers)


def codes(answer: Any) -> list[str]:
    return [runner["runner"] for runner in answer.json()["runners"]]


def test_an_arrival_is_a_range(client: Client) -> None:
    race = make_race()
    entry = make_entry(race, "bob", "7", pace=0.3)
    before = now_ms()
    answer = get_eta(client, 9_000, "&runners=bob")
    after = now_ms()
    body = answer.json()
    assert answer["Cache-Control"] == "private, no-store"
    assert body["place"]["passes"] == [9_000.0]
    assert body["place"]["lat"] == pytest.approx(
        48 + 9_000 / METRES_PER_DEGREE, abs=1e-3
    )
    (bob,) = body["runners"]
    assert (bob["bib"], bob["status"]) == ("7", "started")
    (found,) = bob["passes"]
    truth = milliseconds(entry.gun + timedelta(seconds=9_000 * 0.3))
    assert found["status"] == "expected"
    assert found["earliest"] <= found["at"] <= found["latest"]
    assert abs(found["at"] - truth) < 20_000
    assert before <= body["time"] <= after


def test_a_silent_runner_has_a_probable_place(client: Client) -> None:
    make_entry(make_race(), "bob", "7", pace=0.3)
    (bob,) = get_eta(client, 9_000, "&runners=bob").json()["runners"]
    assert bob["probable"] is None
    # Without the last six minutes.
    heard = timezone.now() - timedelta(minutes=6)
    Position.objects.filter(recorded_at__gt=heard).delete()
    Split.objects.filter(time__gt=heard).delete()
    newest = Position.objects.latest("recorded_at")
    LatestPosition.objects.update(
        recorded_at=newest.recorded_at, lat=newest.lat, progress=newest.progress
    )
    predictions._kept.clear()
    (bob,) = get_eta(client, 9_000, "&runners=bob").json()["runners"]
    place = bob["probable"]
    assert bob["progress"] < place["from"] < place["progress"] < place["to"]


def test_a_place_is_found_by_its_coordinates(client: Client) -> None:
    make_race()
    lat = 48 + 9_000 / METRES_PER_DEGREE
    # A place 70 m beside the course.
    body = get_eta(client, f"{lat},2.00095").json()
    (distance,) = body["place"]["passes"]
    assert distance == pytest.approx(9_000, abs=20)


def test_each_pass_of_an_out_and_back_has_an_arrival(client: Client) -> None:
    there = [[48 + n * LENGTH_M / 40 / METRES_PER_DEGREE, 2.0] for n in range(21)]
    make_entry(make_race(line=there + there[-2::-1]), "bob", "7", pace=0.3)
    (bob,) = get_eta(client, 3_000, "&runners=bob").json()["runners"]
    assert [p["status"] for p in bob["passes"]] == ["passed", "passed"]
    (bob,) = get_eta(client, 1_000, "&runners=bob").json()["runners"]
    assert [round(p["distance"]) for p in bob["passes"]] == [1_000, 9_000]
    assert [p["status"] for p in bob["passes"]] == ["passed", "expected"]


def test_an_invalid_place_is_refused(client: Client) -> None:
    make_race()
    for at, code in (
        ("", "request.invalid"),
        ("home", "request.invalid"),
        ("nan", "request.invalid"),
        ("1,2,3", "request.invalid"),
        ("91,2", "request.invalid"),
        ("-1", "place.off_course"),
        ("10100", "place.off_course"),
        ("48.05,2.1", "place.off_course"),
    ):
        answer = get_eta(client, at)
        assert (answer.status_code, answer.json()["code"]) == (400, code), at
        assert answer.json()["detail"]


def test_too_many_runners_are_refused(client: Client) -> None:
    make_race()
    many = ",".join(f"r{n}" for n in range(101))
    assert get_eta(client, 5_000, f"&runners={many}").status_code == 400


def test_a_race_without_a_course_is_refused(client: Client) -> None:
    make_race(line=[])
    answer = get_eta(client, 5_000)
    assert (answer.status_code, answer.json()["code"]) == (404, "race.no_course")


def test_without_names_the_next_runners_are_returned(client: Client) -> None:
    race = make_race()
    make_entry(race, "far", "1", pace=0.5)
    make_entry(race, "near", "2", pace=0.35)
    make_entry(race, "past", "3", pace=0.25)
    make_entry(race, "home", "4")
    assert codes(get_eta(client, 8_000)) == ["near", "far"]


def test_only_visible_runners_are_returned(
    client: Client, alice: User, alice_client: Client
) -> None:
    race = make_race()
    bob = make_entry(race, "bob", "7", pace=0.3, visibility=Visibility.FOLLOWERS)
    make_entry(race, "eve", "8", pace=0.3, visibility=Visibility.PRIVATE)
    Runner.objects.create(code="alien", name="Alien")
    make_follow(alice, bob.runner, shown_from=race.start)
    every = "&runners=bob,eve,alien,nobody,a b"
    answer = get_eta(alice_client, 9_000, every)
    assert codes(answer) == ["bob"]
    # Alice's response is cached but not sent to strangers.
    stranger = get_eta(client, 9_000, every)
    assert codes(stranger) == []
    assert {(r["code"], r["runner"]) for r in stranger.json()["refused"]} == {
        ("runner.invalid", "a b"),
        ("runner.unknown", "bob"),
        ("runner.unknown", "eve"),
        ("runner.unknown", "alien"),
        ("runner.unknown", "nobody"),
    }
    assert codes(get_eta(alice_client, 9_000)) == ["bob"]
    assert codes(get_eta(client, 9_000)) == []


def test_an_unlisted_race_is_unknown_without_its_link(client: Client) -> None:
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "7", pace=0.3)
    hidden, unknown = get_eta(client, 9_000), client.get("/races/no/eta.json?at=9000")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.json() == unknown.json()
    link, token = make_link(race=race)
    headers = {"Spectate-Share": token}
    assert codes(get_eta(client, 9_000, "&runners=bob", **headers)) == ["bob"]
    link.revoke()
    assert get_eta(client, 9_000, "&runners=bob", **headers).status_code == 410


def test_arrivals_are_cached_and_rights_are_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_race()
    make_entry(race, "bob", "7", pace=0.3)
    monkeypatch.setattr(predictions, "AGE_S", 3_600.0)
    first = get_eta(client, 9_000, "&runners=bob").json()["runners"]
    Position.objects.all().delete()
    assert get_eta(client, 9_000, "&runners=bob").json()["runners"] == first
    Runner.objects.update(visibility=Visibility.PRIVATE)
    assert codes(get_eta(client, 9_000, "&runners=bob")) == []


def test_few_answers_of_a_prediction_are_cached(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entry(make_race(), "bob", "7", pace=0.3)
    monkeypatch.setattr(predictions, "AGE_S", 3_600.0)
    monkeypatch.setattr(predictions, "ANSWERS_KEPT", 2)
    for n in range(9):
        place = get_eta(client, f"9000.{n}", "&runners=bob").json()["place"]
        assert place["passes"] == [9_000.0 + (n > 5)]
    (kept,) = predictions._kept.values()
    assert kept._answers.keys() == {(9_000.0,), (9_001.0,)}
    for at in range(8_000, 8_005):
        assert codes(get_eta(client, at, "&runners=bob")) == ["bob"]
        assert len(kept._answers) <= 2


def test_an_arrival_without_a_range_has_a_reason(client: Client) -> None:
    race = make_race()
    make_entry(race, "waiting", "1")
    make_entry(race, "slow", "2", pace=1.5)
    make_entry(race, "home", "3", pace=0.2)
    make_entry(race, "out", "4", pace=0.4, status="dnf")
    answer = get_eta(client, 9_500, "&runners=waiting,slow,home,out").json()
    assert {r["runner"]: r["passes"][0]["status"] for r in answer["runners"]} == {
        "waiting": "not_started",
        "slow": "too_early",
        "home": "passed",
        "out": "dnf",
    }


async def get_before_django(query: str, *headers: tuple[bytes, bytes]) -> Any:
    return await before_django.get_before_django("/races/ten/eta.json", query, *headers)


async def test_a_crowd_gets_the_answers_of_pages_before_django(
    process: Process,
) -> None:
    race = await database_sync_to_async(make_race)()
    await database_sync_to_async(make_entry)(race, "bob", "7", pace=0.3)
    for query in ("at=9000&runners=bob,eve,a b", "at=9000", "at=home", "at=20000"):
        status, headers, answer = await get_before_django(query)
        page = await AsyncClient().get(f"/races/ten/eta.json?{query}")
        expected = page.json()
        assert status == page.status_code
        assert answer | {"time": 0} == expected | {"time": 0}
        # What other answers would depend on.
        others = {"Vary", "Content-Language"}
        assert headers.items() == {
            (name, value) for name, value in page.items() if name not in others
        }
    await Race.objects.aupdate(visibility=Race.Visibility.LINK)
    assert (await get_before_django("at=9000"))[0] == 404


async def test_viewers_behind_a_proxy_share_an_address(process: Process) -> None:
    _parts_and_headers.cache_clear()
    for viewer in (b"192.0.2.1", b"192.0.2.2"):
        await get_before_django("at=9000", (b"x-forwarded-for", viewer))
    assert _parts_and_headers.cache_info().misses == 1


async def test_long_addresses_are_answered_and_not_kept(process: Process) -> None:
    kept = _parsed.cache_info().currsize
    for slug, query in (("x" * 300, "at=9"), ("ten", "runners=" + "x" * 300)):
        path = f"/races/{slug}/eta.json"
        assert (await before_django.get_before_django(path, query))[0] == 404
    assert _parsed.cache_info().currsize == kept


async def test_requests_of_a_crowd_see_rights_as_of_now(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_reads, "FIELD_AGE_S", 3_600.0)
    race = await database_sync_to_async(make_race)()
    await database_sync_to_async(make_entry)(race, "bob", "7", pace=0.3)
    query = "at=9000&runners=bob"
    assert len((await get_before_django(query))[2]["runners"]) == 1
    await Runner.objects.aupdate(visibility=Visibility.PRIVATE)
    answers = await asyncio.gather(*(get_before_django(query) for _ in range(5)))
    assert [answer["runners"] for _, _, answer in answers] == [[]] * 5


async def test_a_right_that_ends_by_the_clock_ends_for_a_crowd(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = await database_sync_to_async(make_race)()
    await database_sync_to_async(make_entry)(race, "bob", "7", pace=0.3)
    query = "at=9000&runners=bob"
    assert len((await get_before_django(query))[2]["runners"]) == 1
    # The clock writes no `RightsChange`, and neither does this.
    await QuerySet(Runner).aupdate(visibility=Visibility.PRIVATE)
    monkeypatch.setattr(arrival_reads, "FIELD_AGE_S", 0.0)
    assert (await get_before_django(query))[2]["runners"] == []


async def test_fields_are_discarded_while_another_read_adds_one(
    process: Process,
) -> None:
    reads = process.arrival_reads

    class Old:
        @property
        def read_at(self) -> float:
            reads._fields["new"] = self  # type: ignore[assignment]
            return float("-inf")

    reads._fields["old"] = Old()  # type: ignore[assignment]
    await database_sync_to_async(reads._discard_fields)()
    assert list(reads._fields) == ["new"]


async def bob_seen_by_crowd() -> Any:
    """Return Bob's part of the answer to a crowd that asks about 9 km."""
    (bob,) = (await get_before_django("at=9000&runners=bob"))[2]["runners"]
    return bob


async def test_predictions_are_renewed_before_a_request_has_to_wait(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = await database_sync_to_async(make_race)()
    await database_sync_to_async(make_entry)(race, "bob", "7", pace=0.3)
    # Which discards predictions, as Bob has just been entered.
    await process.access_monitor.close()
    for age in ("DUE_S", "AGE_S"):
        monkeypatch.setattr(predictions, age, 3_600.0)
    monkeypatch.setattr(arrival_reads, "RENEW_EVERY_S", 0.0)
    old = (await bob_seen_by_crowd())["progress"]
    await LatestPosition.objects.aupdate(progress=8_888.0)
    monkeypatch.setattr(predictions, "DUE_S", 0.0)
    # This request gets the kept one, and has it renewed.
    assert (await bob_seen_by_crowd())["progress"] == old
    monkeypatch.setattr(predictions, "DUE_S", 3_600.0)
    await eventually(lambda: process.arrival_reads._renewing is None)
    assert (await bob_seen_by_crowd())["progress"] == 8_888.0


async def test_a_change_of_a_runners_rights_discards_their_predictions(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = await database_sync_to_async(make_race)()
    entry = await database_sync_to_async(make_entry)(race, "bob", "7", pace=0.3)
    monkeypatch.setattr(predictions, "AGE_S", 3_600.0)
    assert (await bob_seen_by_crowd())["progress"]
    await eventually(lambda: process.access_monitor._floor is not None)
    # As a new zone does.
    await LatestPosition.objects.aupdate(progress=8_888.0)
    await Runner.objects.aupdate(name="Robert")
    await eventually(
        lambda: entry.runner_id not in {key[-1] for key in predictions._kept}
    )
    assert (await bob_seen_by_crowd())["progress"] == 8_888.0


def test_what_was_read_before_positions_were_erased_is_not_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = make_entry(make_race(), "bob", "7", pace=0.3).runner_id

    def samples_of(rows: Any, now: Any) -> Any:
        predictions.discard_predictions([bob])
        return race_data.samples_of(rows, now)

    monkeypatch.setattr(predictions, "samples_of", samples_of)
    assert codes(get_eta(client, 9_000, "&runners=bob")) == ["bob"]
    assert predictions._kept == {}


@pytest.mark.parametrize("query", ["at=\xff", "&".join(["a=1"] * 1_001)])
async def test_what_django_refuses_goes_to_django(process: Process, query: str) -> None:
    assert (await get_before_django(query))[0] == before_django.PAGES


async def test_requests_go_to_django_when_the_process_has_stopped() -> None:
    assert (await get_before_django("at=9000"))[0] == before_django.PAGES


@pytest.mark.parametrize(
    "header",
    [
        (b"cookie", b"a=b; sessionid=c"),
        (b"spectate-share", b"token"),
        (b"host", b"another.example"),
    ],
)
async def test_requests_with_rights_of_their_own_go_to_django(
    process: Process, header: tuple[bytes, bytes]
) -> None:
    status, _, _ = await get_before_django("at=9000", header)
    assert status == before_django.PAGES
