"""A pause, a zone and an erasure hide positions from spectators who are connected."""

from __future__ import annotations

from runners.preferences.runner_settings import (
    positions_erase,
    sharing_pause,
    sharing_resume,
    zone_add,
)
from runners.units.clock import now_ms
from tests.clients import Message, typed_client
from tests.sharing.live_bob import LiveBob, expect_no_positions, follow_bob


def codes_of(message: Message) -> list[str]:
    """Return the codes of the fixes that an ack rejects."""
    return [code for _, code, _ in message.get("rejected", ())]


async def test_a_pause_and_a_zone_hide_positions_and_the_phone_is_notified(
    live: LiveBob,
) -> None:
    server, bob = live.server, live.bob
    async with typed_client(server.ws_url) as alice:
        await follow_bob(alice, live)
        await server.adatabase(sharing_pause, runner=bob)
        await live.phone.receive_until(lambda m: codes_of(m) == ["sharing.paused"])
        # No position arrives while the pause is in force.
        await expect_no_positions(alice, live)
        await server.adatabase(sharing_resume, runner=bob)
        await alice.receive_until(
            lambda m: m["type"] == "positions" and bool(m["fixes"])
        )
        for lat in (48.05, 48.0):
            await server.adatabase(
                zone_add, runner=bob, name="Home", lat=lat, lng=2, radius=5000
            )
        await live.phone.receive_until(lambda m: codes_of(m) == ["zone.hidden"])
        await expect_no_positions(alice, live)
    assert await server.adatabase(bob.positions.count) == 0


async def test_erased_positions_are_deleted_and_do_not_return(live: LiveBob) -> None:
    server, bob = live.server, live.bob
    await live.phone.receive_type("ack")
    t = now_ms()
    await server.adatabase(positions_erase, runner=bob)
    async with typed_client(server.ws_url, live.token) as phone:
        # Publish until the process has read the erasure. Earlier fixes are erased too.
        rejected: list[list[object]] = []
        while not rejected:
            fix = {"t": t - 1000, "lat": 48, "lng": 2}
            await phone.send(type="publish", fixes=[fix])
            rejected = (await phone.receive_type("ack"))["rejected"]
        assert [code for _, code, _ in rejected] == ["position.erased"]
    assert bob.erased_at is not None
    old = bob.positions.filter(recorded_at__lte=bob.erased_at)
    while await server.adatabase(old.exists):
        pass
