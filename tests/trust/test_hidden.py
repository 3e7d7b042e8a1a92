"""Hidden places must not leave the server through any door.

Visible places are searched for too, because a door that shows nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib

from django.utils import timezone

from runners.preferences.runner_settings import (
    positions_erase,
    sharing_pause,
    sharing_resume,
    sharing_until,
    zone_add,
)
from runners.recovery.backfill import COMMIT_DELAY_S
from runners.subscriptions.topic_snapshots import SNAPSHOT_MAX_AGE_S
from runners.units.clock import now_ms
from tests.servers import Server
from tests.trust.drive import Cast, Drive, Listener, make_cast
from tests.trust.places import Places
from tests.waiting import eventually

# Time until what was stored while a socket joined has been read again. No message
# announces the end of this.
BACKFILL_S = SNAPSHOT_MAX_AGE_S + COMMIT_DELAY_S + 1
# Doors that show visible places.
OPEN_DOORS = {
    *("seed", "typed, one by one", "typed, at a tick", "typed, public", "typed, race"),
    *("typed, link", "snapshot", "since", "track.json", "track.json, since"),
    *("live.json", "live.json, since", "live.json, link"),
    *("track.json, thin", "track.json, link", "track.gpx", "own JSON", "own GPX"),
}


def hide_and_erase(cast: Cast) -> None:
    """Have each runner hide or erase the positions that their code names."""
    sharing_pause(runner=cast.runners["paused"])
    sharing_until(runner=cast.runners["ended"], ends=timezone.now())
    positions_erase(runner=cast.runners["erased"])
    zone_add(
        runner=cast.runners["rezoned"],
        name="Home",
        lat=63.49876,
        lng=13.49876,
        radius=5_000,
    )


async def shows_clean(places: Places, listener: Listener, start: int = 0) -> None:
    """Wait until a visible place has arrived."""
    await eventually(
        lambda: "clean zoned" in places.found("".join(listener.received[start:]))
    )


async def test_no_door_shows_what_is_hidden(roomy_server: Server) -> None:
    cast = await roomy_server.adatabase(make_cast)
    drive = Drive(roomy_server, cast)
    places = drive.places
    async with contextlib.AsyncExitStack() as stack:
        # Visible when they arrived, but later erased, ended or hidden.
        early = await drive.open_listeners(stack)
        witness = await drive.witness(stack)
        await drive.everywhere("before the end", "ended")
        await drive.everywhere("erased", "erased")
        erased_t = drive.last_t
        await drive.everywhere("of a later zone", "rezoned", lat=63.5, lng=13.5)
        wanted = {"erased, typed", "before the end, osmand"}
        await eventually(
            lambda: wanted <= places.found("".join(early["typed, public"].received))
        )
        await roomy_server.adatabase(hide_and_erase, cast)
        await witness.sees_changes()
        pause_t = now_ms()
        before = {name: len(listener.received) for name, listener in early.items()}
        drive.shown.clear()

        await drive.everywhere("in a zone", "zoned", lat=61.5, lng=11.5)
        await drive.everywhere("private", "private")
        drive.last_t = now_ms()
        await drive.everywhere("in a pause", "paused")
        await drive.everywhere("after the end", "ended")
        # Fixes that phones have kept and send late.
        drive.last_t = erased_t - 60_000
        await drive.everywhere("erased, sent again", "erased")
        for centre in ("61.49876", "11.49876", "63.49876", "13.49876"):
            places.names[centre] = "a zone's centre"
        await roomy_server.adatabase(sharing_resume, runner=cast.runners["paused"])
        await witness.sees_changes()
        place = places.make("in a pause, sent later")
        await drive.typed("paused", pause_t, place)

        # Visible places.
        drive.last_t = max(drive.last_t, now_ms() - 8_000)
        for code in ("zoned", "paused", "rezoned"):
            await drive.typed(code, now_ms(), places.make(f"clean {code}"))
            await drive.seed(code, now_ms(), places.make(f"clean {code}"))
            late = places.make(f"clean {code}")
            await drive.typed(code, now_ms() - 300_000, late)

        late_comers = await drive.open_listeners(stack)
        for name in early.keys() & OPEN_DOORS:
            await shows_clean(places, early[name], before[name])
        for name in ("typed, one by one", "typed, since"):
            await shows_clean(places, late_comers[name])
        await asyncio.sleep(BACKFILL_S)
        await drive.read_pages()
        for name, listener in early.items():
            drive.record(name, "\n".join(listener.received[before[name] :]))
        for name, listener in late_comers.items():
            door = "since" if "since" in name else "snapshot"
            drive.record(f"{name}, who came late", "\n".join(listener.received))
            if "seed" not in name:
                drive.record(door, "\n".join(listener.received))
        for listener in (*early.values(), *late_comers.values()):
            listener.task.cancel()
    drive.record("log", roomy_server.log)

    leaks = {}
    clean = set()
    for door, text in drive.shown.items():
        found = places.found(text)
        hidden = {name for name in found if not name.startswith("clean")}
        if door == "own page":
            # It shows the centres that the runner chose.
            hidden.discard("a zone's centre")
        # The map for a new zone begins at the runner's last position.
        if door in ("own page", "own JSON", "own GPX"):
            hidden = {name for name in hidden if not name.startswith("before the end")}
        if hidden:
            leaks[door] = hidden
        if "clean zoned" in found:
            clean.add(door)
    hidden_places = {n for n in places.names.values() if not n.startswith("clean")}
    print(
        f"{len(hidden_places)} places, {len(drive.shown)} doors on {roomy_server.kind}"
    )
    assert not leaks
    assert clean >= OPEN_DOORS, OPEN_DOORS - clean
    assert not places.found(roomy_server.log)
