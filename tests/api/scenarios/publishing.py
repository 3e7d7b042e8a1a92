"""Publishing: refused fixes, too many of them, and a call for help."""

from __future__ import annotations

from django.utils import timezone

from runners.models import Sos
from runners.units.clock import now_ms
from tests.api.scenarios.context import Context, Scenario, fix

MINUTE_MS = 60_000


async def publish_refused_fixes(context: Context) -> None:
    async with context.joined("typed") as stranger:
        await stranger.send(type="publish", fixes=[fix()])
        await stranger.receive_codes("token.required")
    async with context.joined("typed", context.tokens["eve"]) as eve:
        await eve.send(
            **{"type": "publish", "id": "p"},
            fixes=[
                fix(battery=81, accuracy=None, altitude=35, speed=None),
                fix(1000, heading=None, accuracy=5, speed=3, altitude=None),
                fix(2000, heading=90, battery=None),
                fix(lat=0, lng=0),
                fix(-5 * MINUTE_MS),
                fix(lat=50, lng=3),
                fix(150 * MINUTE_MS),
                fix(48 * 60 * MINUTE_MS),
            ],
        )
        ack = await eve.receive_type("ack")
        assert ack["stored"] == 3
        assert {code for _, code, _ in ack["rejected"]} == {
            *("position.invalid", "position.future", "position.erased"),
            *("zone.hidden", "sharing.paused"),
        }


async def resume_after_a_long_gap(context: Context) -> None:
    async with context.joined("typed", context.tokens["many"]) as phone:
        for batch in range(3):
            fixes = [fix(1000 * (n + 400 * batch)) for n in range(400)]
            await phone.send(type="publish", fixes=fixes)
            await phone.receive_type("ack")
    async with context.joined("typed") as client:
        await client.send(type="follow", runners=["many"], since=1, tick=None)
        assert (await client.receive_type("snapshot"))["truncated"] == ["many"]
        await client.send(type="unfollow", runners=["many"])
        await client.receive_type("unfollowed")


async def send_phone_status(context: Context) -> None:
    async with (
        context.joined("typed", context.tokens["phony"]) as phone,
        context.joined("typed") as alice,
    ):
        await alice.send(type="follow", runners=["phony"])
        await alice.receive_type("snapshot")
        await phone.send(type="publish", fixes=[fix(MINUTE_MS, battery=17)])
        assert (await alice.receive_type("event", "phone"))["accuracy"] is None
        await phone.send(type="publish", fixes=[fix(accuracy=62)])
        assert (await alice.receive_type("event", "phone"))["battery"] is None


async def call_for_help(context: Context) -> None:
    token = context.tokens["calling"]
    async with context.joined("typed", token) as phone:
        call = {"type": "sos", "id": "one", "time": now_ms()}
        await phone.send_invalid(type="sos", id=1, time=now_ms())
        await phone.receive_codes("sos.invalid")
        await phone.send(**call, fix=fix(battery=81), battery=80)
        assert (await phone.receive_type("ack"))["open"]
        await context.adatabase(Sos.objects.update, seen_at=timezone.now())
        await phone.send(**call, fine=True)
        ack = await phone.receive_type("ack")
        assert ack["seen"]
        assert not ack["open"]


SCENARIOS: tuple[Scenario, ...] = (
    publish_refused_fixes,
    resume_after_a_long_gap,
    send_phone_status,
    call_for_help,
)
