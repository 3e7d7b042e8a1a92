"""From when on a viewer sees a runner's positions, by each way out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.live.encoding import typed_dialect
from runners.live.events import LateFixes
from runners.models import (
    Entry,
    Follow,
    LatestPosition,
    Position,
    Race,
    Runner,
    Split,
)
from runners.models.race import NEVER
from runners.positions.privacy_rules import PrivacyRules
from runners.preferences.following import FollowAnswer, follow_answer
from runners.preferences.runner_settings import positions_erase, visibility_set
from runners.races import predictions
from runners.races.progress import State
from runners.races.splits import Node
from runners.rights.access import Viewer, followable
from runners.rights.windows import public_from, visible_from
from runners.subscriptions import arrival_answers
from runners.units.clock import milliseconds, now_ms
from runners.views.races.listing import forget_kept
from tests.clients import Message, typed_client
from tests.factories.people import (
    make_follow,
    make_link,
    make_phone,
    make_runner,
    make_user,
)
from tests.factories.races import make_bare_race
from tests.races.field import make_entry, make_race
from tests.servers import Server
from tests.waiting import PATIENCE_S

# Some views read in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
Visibility = Runner.Visibility
# How long ago Bob was where, by latitude.
AGES = {10: 40 * DAY, 20: 30 * HOUR, 30: 2 * HOUR}


@pytest.fixture
def bob(transactional_db: None) -> Runner:
    """A private runner with positions of three ages."""
    bob = make_runner("bob", visibility=Visibility.PRIVATE)
    now = timezone.now()
    for lat, age in AGES.items():
        store(bob, lat, now - age)
    return bob


@pytest.fixture
def alice(transactional_db: None) -> User:
    return make_user("alice")


def store(runner: Runner, lat: float, at: datetime) -> None:
    row = {"recorded_at": at, "lat": lat, "lng": 2, "source": "x"}
    Position.objects.create(runner=runner, stored_at=timezone.now(), **row)
    LatestPosition.objects.update_or_create(
        runner=runner, defaults=row | {"contact_at": timezone.now()}
    )


def latitudes(client: Client, plain: str = "") -> dict[str, Any]:
    """Return the latitudes that each way out gives, without duplicates."""
    headers = {"Spectate-Share": plain} if plain else {}

    def get(path: str) -> Any:
        return client.get(path, headers=headers)

    track = get("/runners/bob/track.json").json()
    gpx = get("/runners/bob/track.gpx").text
    live = get("/live.json?runners=bob&since=0").json()
    fixes = [item["fix"] for item in live["runners"] if item["fix"]]
    return {
        "track": [point[1] for point in track["points"]],
        "gpx": [lat for lat in AGES if f'lat="{lat}' in gpx],
        "since": [fix[1] for late in live["late"] for fix in late["fixes"]],
        "fix": [fix[1] for fix in fixes],
    }


def everywhere(*shown: int) -> dict[str, Any]:
    """Return what `latitudes` returns for a viewer who sees these."""
    rows = list(shown)
    return {"track": rows, "gpx": rows, "since": rows, "fix": rows[-1:]}


@pytest.mark.parametrize(("earlier", "shown"), [(False, ()), (True, (10, 20, 30))])
def test_a_link_shows_earlier_positions_only_if_it_includes_them(
    client: Client, bob: Runner, earlier: bool, shown: tuple[int, ...]
) -> None:
    _, plain = make_link(bob, earlier=earlier)
    assert latitudes(client, plain) == everywhere(*shown)
    store(bob, 40, timezone.now())
    assert latitudes(client, plain)["track"] == [*shown, 40]


def test_an_accepted_follower_sees_positions_from_the_acceptance_on(
    client: Client, alice: User, bob: Runner
) -> None:
    visibility_set(runner=bob, visibility=Visibility.FOLLOWERS)
    Runner.objects.update(followers_from=None)
    follow = make_follow(alice, bob, Follow.Status.PENDING)
    client.force_login(alice)
    follow_answer(follow=follow, answer=FollowAnswer.ACCEPT)
    assert latitudes(client) == everywhere()
    accepted_at = follow.shown_from
    assert accepted_at is not None
    Follow.objects.update(shown_from=accepted_at - 3 * HOUR)
    assert latitudes(client) == everywhere(30)
    # A second acceptance opens nothing, a new request starts again.
    follow.refresh_from_db()
    follow_answer(follow=follow, answer=FollowAnswer.REFUSE)
    follow_answer(follow=follow, answer=FollowAnswer.ACCEPT)
    assert latitudes(client) == everywhere()


@pytest.mark.parametrize("write", ["save", "update"])
@pytest.mark.parametrize("chosen", [Visibility.PUBLIC, Visibility.FOLLOWERS])
def test_a_wider_visibility_opens_only_what_comes_after(
    client: Client, alice: User, bob: Runner, write: str, chosen: str
) -> None:
    make_follow(alice, bob)
    Follow.objects.update(shown_from=timezone.now() - 100 * DAY)
    if write == "save":
        visibility_set(runner=bob, visibility=chosen)
    else:
        Runner.objects.filter(code="bob").update(visibility=chosen)
    client.force_login(alice)
    assert latitudes(client) == everywhere()
    store(bob, 40, timezone.now())
    assert latitudes(client)["track"] == [40]


def test_a_narrower_visibility_hides_nothing_from_followers(
    client: Client, alice: User, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.PUBLIC)
    Runner.objects.update(public_from=None, followers_from=None)
    make_follow(alice, bob)
    Follow.objects.update(shown_from=timezone.now() - 3 * HOUR)
    bob.refresh_from_db()
    visibility_set(runner=bob, visibility=Visibility.FOLLOWERS)
    client.force_login(alice)
    assert latitudes(client) == everywhere(30)


def test_everybody_sees_the_last_24_hours_of_a_public_runner_or_the_current_race(
    client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.PUBLIC)
    Runner.objects.update(public_from=None)
    assert latitudes(client) == everywhere(30)
    now = timezone.now()
    race = make_bare_race("long", now - 31 * HOUR, hours=32)
    Entry.objects.create(race=race, runner=bob, bib="1")
    assert latitudes(client) == everywhere(20, 30)
    Race.objects.update(ends=now - 20 * HOUR)
    assert latitudes(client) == everywhere(30)
    LatestPosition.objects.update(recorded_at=now - 25 * HOUR)
    assert latitudes(client)["fix"] == []


def test_a_replay_shows_the_window_of_its_race_and_nothing_from_before_a_choice(
    client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Visibility.PUBLIC)
    Runner.objects.update(public_from=None)
    now = timezone.now()
    race = make_bare_race("past", now - 31 * HOUR, hours=2)
    Entry.objects.create(race=race, runner=bob, bib="1")

    def replayed() -> list[float]:
        shown = []
        for age in AGES.values():
            at = milliseconds(now - age)
            answer = client.get(f"/races/past/replay.json?from={at}").json()
            shown += [p[1] for of in answer["runners"] for p in of["points"]]
        return shown

    assert replayed() == [20]
    Runner.objects.update(public_from=now - 30 * HOUR + HOUR)
    assert replayed() == []


def test_a_right_includes_results_and_no_progress_from_before_it(
    client: Client,
) -> None:
    race = make_race()
    entry = make_entry(race, "bob", "1", pace=0.3, visibility=Visibility.PRIVATE)
    _, plain = make_link(entry.runner)
    headers = {"Spectate-Share": plain}

    def shown() -> tuple[Any, Any, int, int]:
        forget_kept()
        predictions._kept.clear()
        path = "/races/ten/standings.json?splits=1"
        (row,) = client.get(path, headers=headers).json()["standings"]
        eta = client.get("/races/ten/eta.json?at=9000&runners=bob", headers=headers)
        arrivals = len(eta.json()["runners"])
        return row["progress"], row["seen"], len(row["splits"]), arrivals

    last = LatestPosition.objects.get()
    assert last.progress is not None
    assert shown() == (7500, None, 4, 0)
    LatestPosition.objects.update(recorded_at=timezone.now())
    assert shown() == (
        round(last.progress, 1),
        milliseconds(LatestPosition.objects.get().recorded_at),
        4,
        1,
    )


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget what a test has kept of standings and arrivals."""
    yield
    forget_kept()
    predictions._kept.clear()


def entered(*, public_for: timedelta) -> Entry:
    """Enter Bob, who runs without splits and is public since before the last fix."""
    entry = make_entry(make_race(), "bob", "1", pace=0.3)
    Split.objects.all().delete()
    begin = LatestPosition.objects.get().recorded_at - public_for
    Runner.objects.filter(pk=entry.runner_id).update(
        visibility=Visibility.PUBLIC, public_from=begin
    )
    return entry


def arrival(client: Client, at: int) -> Any:
    """Return Bob's row in `eta.json`, or None."""
    answer = client.get(f"/races/ten/eta.json?at={at}&runners=bob")
    return next(iter(answer.json()["runners"]), None)


def standing(client: Client) -> Any:
    (row,) = client.get("/races/ten/standings.json").json()["standings"]
    return row


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("begins", ["with the visibility", "with the acceptance"])
def test_the_time_at_a_place_behind_uses_no_fix_from_before_a_right(
    client: Client, alice: User, begins: str
) -> None:
    entry = entered(public_for=timedelta(seconds=2))
    entry.refresh_from_db()
    if begins == "with the acceptance":
        begin = LatestPosition.objects.get().recorded_at - timedelta(seconds=2)
        Entry.objects.update(shown_from=begin)
        of = {"account": alice, "visibility": Visibility.RACE}
        Runner.objects.filter(pk=entry.runner_id).update(**of)
        Runner.objects.update(public_from=None)
    assert entry.started_at is not None
    ends = [entry.started_at, LatestPosition.objects.get().recorded_at]
    for at in range(4_500, 7_500, 500):
        (there,) = arrival(client, at)["passes"]
        assert there["status"] == "passed"
        assert [there["earliest"], there["latest"]] == list(map(milliseconds, ends))


@pytest.mark.usefixtures("forgotten")
def test_a_certain_progress_from_before_a_right_is_not_shown(client: Client) -> None:
    entry = entered(public_for=timedelta(seconds=2))
    now = timezone.now()
    for age, shown in ((20 * 60, None), (1, 5432.1)):
        at = milliseconds(LatestPosition.objects.get().recorded_at) - age * 1000
        state = State(gun=0, status="off_course", certain=Node(at, 5432.1))
        LatestPosition.objects.update(
            progress=None, race_state={"entry": entry.pk, "state": state.as_json()}
        )
        forget_kept()
        predictions._kept.clear()
        assert arrival(client, 9_000)["progress"] == shown
        row = standing(client)
        assert (row["progress"], row["state"]) == (shown, "off_course")
    # Nor that the runner was off course then.
    Runner.objects.update(public_from=now)
    row = standing(client)
    assert (row["progress"], row["seen"], row["state"]) == (None, None, "started")


@pytest.mark.usefixtures("forgotten")
def test_what_was_read_for_others_before_a_right_is_not_shown(
    client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.views.races.listing.AGE_S", 3_600.0 * 24 * 365)
    runner = entered(public_for=HOUR).runner
    assert arrival(client, 9_000)
    assert standing(client)["seen"]
    Runner.objects.update(public_from=timezone.now())
    LatestPosition.objects.update(recorded_at=timezone.now(), progress=7_777.0)
    assert arrival(client, 9_000) is None
    assert standing(client)["progress"] is None
    predictions._kept.clear()
    assert arrival(client, 9_000)["progress"] == 7_777.0
    # Erased positions are shown to nobody, not to the runner either.
    runner.refresh_from_db()
    Runner.objects.update(account=alice)
    client.force_login(alice)
    assert arrival(client, 9_000)["progress"] == 7_777.0
    positions_erase(runner=runner)
    assert arrival(client, 9_000) is None
    assert standing(client)["progress"] is None


@pytest.mark.usefixtures("forgotten")
def test_a_position_from_before_a_right_puts_nobody_among_the_next(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_answers, "MAX_COMING", 1)
    race = entered(public_for=-HOUR).race
    make_entry(race, "far", "2", pace=0.4)
    answer = client.get("/races/ten/eta.json?at=9000").json()
    assert [of["runner"] for of in answer["runners"]] == ["far"]


def test_runners_see_all_of_their_own_positions(
    client: Client, alice: User, bob: Runner
) -> None:
    Runner.objects.update(account=alice)
    client.force_login(alice)
    assert latitudes(client) == everywhere(10, 20, 30)
    assert client.get("/me/positions.json").json()["positions"][0]["lat"] == 10


def test_who_has_no_right_sees_nothing(alice: User, bob: Runner) -> None:
    assert public_from([bob.pk]) == {}
    assert visible_from([bob.pk], alice.pk) == {bob.pk: NEVER}


def test_a_grant_has_its_beginning(alice: User, bob: Runner) -> None:
    link, _ = make_link(bob)
    (grant,), _ = followable(Viewer(links=(link.pk,)), ["bob"], create=False)
    assert link.shown_from is not None
    assert grant.begin == milliseconds(link.shown_from)


# Live


@pytest.mark.parametrize(
    ("rules", "begin"),
    [
        (PrivacyRules(), 0),
        (PrivacyRules(public=True), -24),
        (PrivacyRules(public=True, race_from=-30), -30),
        (PrivacyRules(public=True, race_from=-2), -24),
        (PrivacyRules(public=True, public_from=-3, race_from=-30), -3),
        (PrivacyRules(race_from=-2), -2),
        (PrivacyRules(race_from=-2, public_from=-1), -1),
        (PrivacyRules(race_from=5), 0),
    ],
)
def test_fixes_from_before_everybody_sees_a_runner_are_sent_to_nobody(
    rules: PrivacyRules, begin: int
) -> None:
    now, hour = now_ms(), 3_600_000

    def at(hours: int) -> int:
        return now + hour * hours if hours else 0

    shifted = PrivacyRules(
        public=rules.public,
        public_from=at(rules.public_from),
        race_from=at(rules.race_from),
    )
    assert shifted.shown_from(now) == at(begin)


def test_late_fixes_are_cut_at_the_beginning_of_a_grant() -> None:
    late = LateFixes(1, "bob", [(1000, 48.0, 2.0), (2000, 49.0, 2.0)])
    assert late.since(1500) == LateFixes(1, "bob", [(2000, 49.0, 2.0)])
    assert typed_dialect.encode(late.since(2001)) == b""


def link_to(code: str) -> str:
    return make_link(Runner.objects.get(code=code))[1]


def fix(t: int, lat: float) -> dict[str, float]:
    return {"t": t, "lat": lat, "lng": 2}


def latitudes_of(frames: list[Message]) -> list[float]:
    """Return the latitudes of the frames of positions."""
    of = [frame["fixes"] for frame in frames if frame["type"] == "positions"]
    return [row[2] for rows in of for row in rows]


async def test_a_socket_with_a_link_is_sent_nothing_from_before_the_link(
    server: Server,
) -> None:
    token = await server.adatabase(make_phone, "zoe", visibility="private")
    async with typed_client(server.ws_url, token=token) as zoe:
        before = now_ms() - 600_000

        async def publish(*fixes: dict[str, float]) -> None:
            await zoe.send(type="publish", fixes=fixes)
            ack = await zoe.receive_type("ack")
            assert ack["stored"] == len(fixes)

        await publish(fix(before, 10))
        plain = await server.adatabase(link_to, "zoe")
        async with typed_client(server.ws_url) as mum:
            await mum.send(type="follow", share=plain, since=0, tick=0)
            snapshot = await mum.receive_type("snapshot")
            assert [item["fix"] for item in snapshot["runners"]] == [None]
            # The phone had no connection while the link was made.
            await publish(fix(before + 1000, 20), fix(now_ms(), 30))
            await publish(fix(before + 500, 40))
            await publish(fix(now_ms(), 50))
            frames: list[Message] = []
            async with asyncio.timeout(PATIENCE_S):
                while 50 not in latitudes_of(frames):
                    frames.append(await mum.receive())
            assert latitudes_of(frames) == [30, 50]
            assert not [frame for frame in frames if frame["type"] == "late"]
