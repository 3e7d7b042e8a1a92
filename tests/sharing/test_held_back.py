"""Positions that a pause, a zone or an erasure holds back, while somebody watches."""

from __future__ import annotations

import asyncio

from tests.clients import typed_client
from tests.sharing.scene import SOON, Scene, now_ms, quiet, sees_bob


async def test_a_pause_and_a_zone_hold_positions_back_and_say_so(
    scene: Scene,
) -> None:
    async with typed_client(scene.server.ws_url) as alice:
        await sees_bob(alice, scene)
        await scene.office.do("sharing_pause(runner=bob)")
        await scene.phone.hear_until(
            lambda m: m.get("rejected") == [[0, "sharing.paused"]]
        )
        # Nothing more once the pause is in force.
        assert await quiet(alice)
        await scene.office.do("sharing_resume(runner=bob)")
        await alice.hear_until(lambda m: m["type"] == "positions" and bool(m["fixes"]))
        await scene.office.do(
            "zone_add(runner=bob, name='Home', lat=48.05, lng=2, radius=5000)\n"
            "zone_add(runner=bob, name='Home', lat=48.0, lng=2, radius=5000)"
        )
        await scene.phone.hear_until(
            lambda m: m.get("rejected") == [[0, "zone.hidden"]]
        )
        assert await quiet(alice)
    assert (
        await scene.office.do("print(Position.objects.filter(runner=bob).count())")
    ) == "0"


async def test_erased_positions_are_gone_and_do_not_come_back(scene: Scene) -> None:
    await scene.phone.hear_type("ack")
    t = now_ms()
    await scene.office.do("positions_erase(runner=bob)")
    async with typed_client(scene.server.ws_url, scene.token) as phone:
        await asyncio.sleep(SOON)
        await phone.say(type="publish", fixes=[{"t": t - 1000, "lat": 48, "lng": 2}])
        ack = await phone.hear_type("ack")
        assert ack["rejected"] == [[0, "position.erased"]]
    old = await scene.office.do(
        "print(Position.objects.filter(runner=bob,"
        " recorded_at__lte=Runner.objects.get(pk=bob.pk).erased_at).count())"
    )
    assert old == "0"
