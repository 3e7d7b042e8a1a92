"""Runners who start, get lost and finish, and organisers who change their race."""

from __future__ import annotations

from runners.races.entries import entry_mark
from tests.api.capture import Recorder
from tests.api.scenes.stage import Scene, Stage, fix, says
from tests.races.field import make_entry

METRE = 1 / 111_195  # degrees of latitude


async def run_a_race(stage: Stage) -> None:
    """Bob starts, runs, gets lost and finishes; organisers change the rest."""
    races = stage.cast.races
    async with (
        stage.joined("typed", stage.tokens["bob"]) as bob,
        stage.joined("typed") as alice,
    ):
        await alice.send(type="follow", races=["city", "going"], tick=0)
        await alice.receive_type("snapshot")
        await run(bob, 110)
        for state in ("started", "off_course", "finished"):
            await alice.receive_until(says(state=state))
        await bob.send(type="publish", fixes=[fix(100), fix(1100)])
        await alice.receive_type("late")
        dora = await stage.adatabase(stage.cast.runners["dora"].entries.get)
        for state in ("dnf", "dns", "registered"):
            await stage.adatabase(entry_mark, entry=dora, status=state)
            await alice.receive_until(says(state=state))
        nina = await stage.adatabase(
            make_entry, races["city"], "nina", "3", visibility="public"
        )
        await alice.receive_until(says(change="added"))
        await stage.adatabase(nina.delete)
        await alice.receive_until(says(change="removed"))
        await stage.adatabase(races["going"].save)
        await alice.receive_until(says(race={"slug": "going", "change": "changed"}))
        await stage.adatabase(races["going"].delete)
        await alice.receive_until(says(race={"slug": "going", "change": "removed"}))


async def run(phone: Recorder, seconds: int) -> None:
    """Run the city's course, and lose it for a while after 250 m."""
    await phone.send(type="publish", fixes=[fix(240_000), fix(241_000)])
    for second in range(0, seconds, 5):
        is_lost = 65 <= second < 85
        await phone.send(
            type="publish",
            fixes=[
                fix(
                    (200 - second) * 1000,
                    48 + min(4 * second, 400) * METRE,
                    2.004 if is_lost else 2.0,
                    accuracy=5,
                    **({"speed": 4.0, "heading": 0} if second else {}),
                )
            ],
        )


async def get_lost(stage: Stage) -> None:
    async with stage.joined("typed", stage.tokens["lost"]) as phone:
        await phone.receive_type("welcome")
        await run(phone, 85)
        for _ in range(18):
            await phone.receive_type("ack")


SCENES: tuple[Scene, ...] = (
    run_a_race,
    get_lost,
)
