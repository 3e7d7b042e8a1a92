"""The race windows of runners, and their viewers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from runners.models import (
    Entry,
    LatestPosition,
    Position,
    Race,
    RightsChange,
    Runner,
    ShareLink,
    Wave,
)
from runners.positions.active_entry import active_entry
from runners.positions.privacy_rules import read_rules
from runners.races.race_data import ground_of, rows_of
from runners.races.setup import race_save
from runners.recovery.backfill import stored_since
from runners.rights.access import (
    AccessCheck,
    Viewer,
    check_access,
    followable,
    topic_runners,
    visible_runners,
)
from runners.rights.roles import seen_in_races
from runners.rights.windows import public_from, races_of
from runners.snapshots import items
from runners.snapshots.items import find_races, runner_items
from runners.units.clock import milliseconds
from tests.factories.people import make_link
from tests.factories.positions import make_latest, make_position
from tests.factories.races import make_bare_race

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def make_race(start: timedelta = -2 * HOUR, **fields: Any) -> Race:
    now = timezone.now()
    return make_bare_race("half", now + start, ends=now + 3 * HOUR, **fields)


def enter(race: Race, code: str = "bob", **fields: Any) -> Entry:
    runner = Runner.objects.create(code=code, name=code, visibility="race")
    return Entry.objects.create(race=race, runner=runner, bib=code, **fields)


def link_to(race: Race) -> int:
    link, _ = make_link(race=race)
    return link.pk


def codes(race: Race, links: tuple[int, ...] = ()) -> tuple[list[str], list[str]]:
    """Return the codes that are visible singly, and as part of the race."""
    return (
        sorted(visible_runners(links=links).values_list("code", flat=True)),
        sorted(topic_runners(race.pk).values_list("code", flat=True)),
    )


@pytest.mark.parametrize(
    ("start", "entry", "visible"),
    [
        (61 * MINUTE, {}, False),
        (59 * MINUTE, {}, True),
        (-2 * HOUR, {}, True),
        (-2 * HOUR, {"finished_at": -59 * MINUTE}, True),
        (-2 * HOUR, {"finished_at": -61 * MINUTE}, False),
        (-2 * HOUR, {"status": "dnf", "out_at": -59 * MINUTE}, True),
        (-2 * HOUR, {"status": "dnf", "out_at": -61 * MINUTE}, False),
        (-2 * HOUR, {"status": "started", "changed_at": -61 * MINUTE}, True),
    ],
)
def test_a_runner_is_visible_from_an_hour_before_to_an_hour_after_their_race(
    start: timedelta, entry: dict[str, Any], visible: bool
) -> None:
    race = make_race(start)
    row = enter(race)
    now = timezone.now()
    times = {k: now + v if isinstance(v, timedelta) else v for k, v in entry.items()}
    if times:
        Entry.objects.filter(pk=row.pk).update(**times)
    assert codes(race) == ((["bob"], ["bob"]) if visible else ([], []))
    assert codes(race, (link_to(race),)) == codes(race)


def test_the_window_of_a_finisher_ends_by_the_clock() -> None:
    race = make_race()
    finished_at = timezone.now() - 10 * MINUTE
    enter(race, finished_at=finished_at, status="finished")
    (grant,), refused = followable(Viewer(), ["bob"], create=False)
    assert not refused
    assert grant.anybody
    assert grant.until == pytest.approx((finished_at + HOUR).timestamp())
    Entry.objects.all().update(finished_at=None, status="started")
    (grant,), _ = followable(Viewer(), ["bob"], create=False)
    assert grant.until == pytest.approx(race.ends.timestamp())


def test_an_entry_shows_a_runner_with_an_account_after_they_accepted_it() -> None:
    race = make_race()
    entry = enter(race, accepted=False)
    assert codes(race) == (["bob"], ["bob"])  # Needs no consent.
    entry.runner.account = User.objects.create_user("bob")
    entry.runner.save()
    assert codes(race) == ([], [])
    # The race does not reveal that a public runner is entered, either.
    Runner.objects.all().update(visibility="public")
    assert codes(race) == (["bob"], [])
    assert runner_items(Runner.objects.all())[entry.runner_id]["race"] is None
    assert not races_of([entry.runner])
    Entry.objects.all().update(accepted=True)
    assert codes(race) == (["bob"], ["bob"])
    assert runner_items(Runner.objects.all())[entry.runner_id]["race"] == "half"
    assert races_of([entry.runner]).get() == race


def test_a_runner_has_the_result_of_a_race_for_a_day() -> None:
    race = make_race()
    entry = enter(race)
    Runner.objects.all().update(visibility="public")
    now = timezone.now()

    def item(**changes: Any) -> Any:
        Entry.objects.all().update(**changes)
        item = runner_items(Runner.objects.all())[entry.runner_id]
        return item["race"], item["bib"], item["state"]

    Race.objects.all().update(ends=now - HOUR)
    make_latest(entry.runner, now)
    # A finisher's phone may go on. Somebody else who is seen later runs again.
    assert item(status="finished", finished_at=now - HOUR) == (
        *("half", "bob", "finished"),
    )
    assert item(status="started", finished_at=None) == (None, None, None)
    LatestPosition.objects.all().update(recorded_at=now - 2 * HOUR)
    assert item() == ("half", "bob", "started")
    assert races_of([entry.runner]).get() == race
    Race.objects.all().update(ends=now - 25 * HOUR, start=now - 30 * HOUR)
    assert item() == (None, None, None)
    assert not races_of([entry.runner])


def test_an_unlisted_race_is_visible_by_its_link_only() -> None:
    race = make_race(visibility="link")
    entry = enter(race)
    link = link_to(race)
    assert find_races(["half"]) == {}
    assert find_races(["half"], [link]) == {"half": race.pk}
    assert codes(race) == ([], ["bob"])
    assert codes(race, (link,)) == (["bob"], ["bob"])
    assert not races_of([entry.runner])
    (grant,), _ = followable(Viewer(links=(link,)), ["bob"], create=False)
    assert not grant.anybody
    Runner.objects.all().update(visibility="public")
    assert runner_items(Runner.objects.all())[entry.runner_id]["race"] is None
    ShareLink.objects.get(pk=link).revoke()
    assert find_races(["half"], [link]) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda race, link: link.revoke(), "revoked"),
        (
            lambda race, link: ShareLink.objects.update(expires_at=timezone.now()),
            "expired",
        ),
    ],
)
def test_a_socket_loses_an_unlisted_race_with_its_link(
    change: Any, reason: str
) -> None:
    race = make_race(visibility="link")
    link = link_to(race)
    check = AccessCheck(Viewer(links=(link,)), None, frozenset(), frozenset([race.pk]))
    assert check_access([check])[0].lost_races == {}
    change(race, ShareLink.objects.get())
    assert check_access([check])[0].lost_races == {race.pk: reason}


def test_a_socket_loses_a_race_that_is_no_longer_listed() -> None:
    race = make_race()
    check = AccessCheck(Viewer(), None, frozenset(), frozenset([race.pk]))
    assert check_access([check])[0].lost_races == {}
    Race.objects.filter(pk=race.pk).update(visibility="link")
    assert check_access([check])[0].lost_races == {race.pk: "private"}
    race.delete()  # The topic reports a deleted race to its subscribers.
    assert check_access([check])[0].lost_races == {}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda race, entry: Race.objects.update(visibility="link"), "race"),
        (lambda race, entry: Race.objects.get().save(), "race"),
        (lambda race, entry: Entry.objects.update(accepted=False), "runner"),
        (lambda race, entry: Entry.objects.update(status="dnf"), "runner"),
        (lambda race, entry: entry.save(update_fields=["status"]), "runner"),
        (lambda race, entry: entry.delete(), "runner"),
    ],
)
def test_changes_that_may_revoke_a_right_are_recorded(change: Any, kind: str) -> None:
    race = make_race()
    entry = enter(race)
    key = race.pk if kind == "race" else entry.runner_id
    RightsChange.objects.all().delete()
    change(race, entry)
    assert RightsChange.objects.filter(kind=kind, key=key).exists()


def test_positions_from_before_the_window_are_hidden() -> None:
    race = make_race(start=timedelta())
    runner = enter(race).runner
    now = timezone.now()
    for minutes, lat in ((90, 11), (30, 12), (2, 13)):
        at = now - minutes * MINUTE
        make_position(runner, at, lat=lat, lng=2, stored_at=now)
    latest = make_latest(runner, at, lat=13, lng=2, contact_at=now)

    def visible_latitudes() -> tuple[Any, list[float], list[float]]:
        """Return the latitudes of the snapshot, of `since` and of the track."""
        item = runner_items([runner.pk])[runner.pk]
        missed = stored_since([runner.pk], 0).rows.get(runner.pk, [])
        track = Client().get("/runners/bob/track.json").json()["points"]
        assert (b'lat="11' in Client().get("/runners/bob/track.gpx").content) is (
            11 in [point[1] for point in track]
        )
        fix = item["fix"] and item["fix"][1]
        return fix, [row[1] for row in missed], [point[1] for point in track]

    assert visible_latitudes() == (13, [12, 13], [12, 13])
    # The earlier of two open windows counts.
    later = make_bare_race("later", now + 45 * MINUTE)
    Entry.objects.create(race=later, runner=runner, bib="1")
    assert visible_latitudes() == (13, [12, 13], [12, 13])
    LatestPosition.objects.update(recorded_at=now - 90 * MINUTE)
    assert visible_latitudes()[0] is None
    # The window hides nothing of runners who were public before.
    Runner.objects.update(visibility="public")
    Runner.objects.update(public_from=None)
    assert visible_latitudes() == (latest.lat, [11, 12, 13], [11, 12, 13])


def accepted_by_account(race: Race, **fields: Any) -> Entry:
    """Enter a runner with an account, who agrees to the race as it is."""
    entry = enter(race, **fields)
    entry.runner.account = User.objects.create_user("bob")
    entry.runner.save()
    return entry


@pytest.mark.parametrize("is_bulk", [False, True])
def test_an_early_wave_is_tracked_from_an_hour_before_its_start(is_bulk: bool) -> None:
    race = make_race(start=2 * HOUR, line=[[0, 0], [0, 0.01]])
    early = Wave.objects.create(race=race, name="Bikes", start=race.start - 2 * HOUR)
    entry = accepted_by_account(race, wave=early)
    if is_bulk:
        entry.delete()
        fields = {"runner": entry.runner, "bib": "1", "wave": early}
        (entry,) = Entry.objects.bulk_create([Entry(race=race, **fields)])
    assert active_entry(entry).opens == milliseconds(early.start - HOUR)
    # Others see what the race shows.
    assert [w[1:] for w in Entry.objects.windows()] == [(race.opens, race.ends)]
    assert not entry.asks_again
    # The runner has not agreed to a wave that starts even earlier.
    early.start -= HOUR
    entry.shown_from += 4 * HOUR
    assert entry.asks_again


def test_a_stretched_race_opens_nothing_that_its_runners_did_not_agree_to() -> None:
    race = make_race(line=[[0, 0], [0, 0.01]])
    bob = accepted_by_account(race).runner
    agreed = race.opens
    for at in (agreed - HOUR, agreed, race.ends):
        make_position(bob, at)
    stretched = Race.objects.all()
    stretched.update(start=race.start - 9 * HOUR, ends=race.ends + 9 * HOUR)
    assert codes(race) == (["bob"], ["bob"])
    assert public_from([bob.pk]) == {bob.pk: agreed}
    race.refresh_from_db()
    assert public_from([bob.pk], race) == {bob.pk: agreed}
    assert followable(Viewer(), ["bob"], create=False)[0][0].until == pytest.approx(
        (race.ends - 9 * HOUR).timestamp()
    )
    seen = seen_in_races(Position.objects.all(), stretched)
    assert [each.recorded_at for each in seen] == [agreed]
    assert [w[1:] for w in Entry.objects.windows()] == [(agreed, race.ends - 9 * HOUR)]
    active = active_entry(Entry.objects.get())
    assert (active.opens, active.ends) == (
        milliseconds(agreed),
        milliseconds(race.ends - 9 * HOUR),
    )
    assert read_rules(bob.pk).race_from == milliseconds(agreed)


def test_a_later_end_shows_nobody_past_the_agreed_one() -> None:
    race = make_race()
    bob = accepted_by_account(race).runner
    now = timezone.now()
    Entry.objects.update(shown_until=now - MINUTE)
    assert codes(race) == ([], [])
    assert read_rules(bob.pk).race_from == 0
    make_latest(bob, now, progress=900)
    (row,) = rows_of(race, ground_of(race))
    assert (row.progress, row.last_fix_at) == (None, None)
    Entry.objects.update(shown_until=race.ends)
    (row,) = rows_of(race, ground_of(race))
    assert row.progress == 900


def test_a_runner_without_an_account_follows_the_times_of_the_race() -> None:
    race = make_race()
    bob = enter(race).runner
    Race.objects.update(start=race.start - 9 * HOUR)
    assert public_from([bob.pk]) == {bob.pk: race.opens - 9 * HOUR}


def test_a_race_lasts_at_most_60_days() -> None:
    race = make_race()
    race.ends = race.start + timedelta(days=60)
    race_save(race=race)
    race.ends += MINUTE
    with pytest.raises(ValidationError, match="A race lasts at most 60 days"):
        race_save(race=race)


def test_who_is_entered_between_two_queries_comes_with_the_next_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race, read = make_race(), items._shown_entries

    def read_before_an_entry(*args: Any) -> dict[int, items.Shown]:
        found = read(*args)
        if not Entry.objects.exists():
            enter(race)
        return found

    monkeypatch.setattr(items, "_shown_entries", read_before_an_entry)
    assert runner_items(topic_runners(race.pk), race.pk) == {}
    ((_, bob),) = runner_items(topic_runners(race.pk), race.pk).items()
    assert bob["bib"] == "bob"
