"""Runners who start, leave the course and finish, and organisers who change a race."""

from __future__ import annotations

from runners.races.entries import entry_mark
from tests.api.capture import RecordingClient
from tests.api.scenarios.context import Context, Scenario, fix, has_fields
from tests.races.field import make_entry

METRE_DEGREES = 1 / 111_195


async def run_a_race(context: Context) -> None:
    """Bob starts, leaves the course and finishes; organisers change the rest."""
    races = context.rows.races
    async with (
        context.joined("typed", context.tokens["bob"]) as bob,
        context.joined("typed") as alice,
    ):
        await alice.send(
            type="follow", races=["city", "going", "ten"], since=None, tick=0
        )
        await alice.receive_type("snapshot")
        await run(bob, 110)
        for state in ("started", "off_course", "finished"):
            await alice.receive_until(has_fields(state=state))
        await bob.send(type="publish", fixes=[fix(100), fix(1100)])
        await alice.receive_type("late")
        dora = await context.adatabase(context.rows.runners["dora"].entries.get)
        for state in ("dnf", "dns", "dsq", "registered"):
            await context.adatabase(entry_mark, entry=dora, status=state)
            await alice.receive_until(has_fields(state=state))
        nina = await context.adatabase(
            make_entry, races["city"], "nina", "3", visibility="public"
        )
        await alice.receive_until(has_fields(change="added"))
        await context.adatabase(nina.delete)
        await alice.receive_until(has_fields(change="removed"))
        await context.adatabase(races["going"].save)
        await alice.receive_until(
            has_fields(race={"slug": "going", "change": "changed"})
        )
        await context.adatabase(races["going"].delete)
        await alice.receive_until(
            has_fields(race={"slug": "going", "change": "removed"})
        )


async def run(phone: RecordingClient, seconds: int) -> None:
    """Run the city's course, and leave it for a while after 250 m."""
    await phone.send(type="publish", fixes=[fix(240_000), fix(241_000)])
    for second in range(0, seconds, 5):
        is_lost = 65 <= second < 85
        await phone.send(
            type="publish",
            fixes=[
                fix(
                    (200 - second) * 1000,
                    48 + min(4 * second, 400) * METRE_DEGREES,
                    2.004 if is_lost else 2.0,
                    accuracy=5,
                    **({"speed": 4.0, "heading": 0} if second else {}),
                )
            ],
        )


async def leave_the_course(context: Context) -> None:
    async with context.joined("typed", context.tokens["lost"]) as phone:
        await phone.receive_type("welcome")
        await run(phone, 85)
        for _ in range(18):
            await phone.receive_type("ack")


SCENARIOS: tuple[Scenario, ...] = (
    run_a_race,
    leave_the_course,
)
