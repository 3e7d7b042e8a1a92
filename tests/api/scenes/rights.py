"""Rights that end while somebody watches."""

from __future__ import annotations

from tests.api.scenes.stage import Scene, Stage


async def lose_runners(stage: Stage) -> None:
    async with (
        stage.joined("typed") as client,
        stage.joined("typed", cookie=stage.cookies["charlie"]) as charlie,
    ):
        lost = ["deleted", "expiring", "hiding", "leaving"]
        await client.say(type="follow", runners=lost)
        await charlie.say(type="follow", runners=["blocking"])
        await client.hear_type("snapshot")
        await charlie.hear_type("snapshot")
        await stage.do(
            "runner_delete(runner=runners['deleted'])\n"
            "sharing_until(runner=runners['expiring'], ends=timezone.now())\n"
            "visibility_set(runner=runners['hiding'], visibility='private')\n"
            "visibility_set(runner=runners['leaving'], visibility='followers')\n"
            "Follow.objects.create(user=users['charlie'],"
            " runner=runners['blocking'], status='blocked')"
        )
        reasons = [await client.hear_type("event", "access") for _ in lost]
        reasons.append(await charlie.hear_type("event", "access"))
        assert {event["reason"] for event in reasons} == {
            *("deleted", "expired", "private", "revoked", "blocked")
        }
        await stage.do("users['charlie'].delete()")
        await charlie.hear_end(4401)


async def lose_races(stage: Stage) -> None:
    # The token keeps the socket, whatever ends.
    async with stage.joined("typed", stage.tokens["other"]) as client:
        await client.say(type="follow", races=["hushed"])
        await client.say(type="follow", share=stage.links["secret"])
        await client.say(type="follow", share=stage.links["secret-too"])
        for _ in range(3):
            await client.hear_type("snapshot")
        await stage.do(
            "Race.objects.filter(slug='hushed').update(visibility='link')\n"
            "links['secret'].revoke()\n"
            "ShareLink.objects.filter(pk=links['secret-too'].pk)"
            ".update(expires_at=timezone.now())"
        )
        events = [await client.hear_type("event", "access") for _ in range(3)]
        assert {event["reason"] for event in events} == {
            *("private", "revoked", "expired")
        }


async def lose_what_a_socket_stands_on(stage: Stage) -> None:
    async with (
        stage.joined("typed", stage.tokens["gone"]) as gone,
        stage.joined("typed", stage.tokens["moved"]) as moved,
        stage.joined("typed") as shared,
    ):
        await shared.say(type="follow", share=stage.links["two"])
        await shared.hear_type("snapshot")
        await stage.do(
            "tokens['gone'].revoke()\n"
            "tokens['moved'].runner = runners['other']; tokens['moved'].save()\n"
            "links['two'].revoke()"
        )
        await gone.hear_end(4401)
        await moved.hear_end(1012)
        await shared.hear_end(4403)


SCENES: tuple[Scene, ...] = (
    lose_runners,
    lose_races,
    lose_what_a_socket_stands_on,
)
