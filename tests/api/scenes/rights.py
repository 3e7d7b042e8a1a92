"""Rights that end while somebody watches."""

from __future__ import annotations

from django.utils import timezone

from runners.models import Race, ShareLink
from runners.sharing.runner_settings import runner_delete, sharing_until, visibility_set
from tests.api.scenes.cast import Cast
from tests.api.scenes.stage import Scene, Stage
from tests.factories.people import make_follow


def take_runners_away(cast: Cast) -> None:
    runner_delete(runner=cast.runners["deleted"])
    sharing_until(runner=cast.runners["expiring"], ends=timezone.now())
    visibility_set(runner=cast.runners["hiding"], visibility="private")
    visibility_set(runner=cast.runners["leaving"], visibility="followers")
    make_follow(cast.users["charlie"], cast.runners["blocking"], "blocked")


async def lose_runners(stage: Stage) -> None:
    async with (
        stage.joined("typed") as client,
        stage.joined("typed", cookie=stage.cookies["charlie"]) as charlie,
    ):
        lost = ["deleted", "expiring", "hiding", "leaving"]
        await client.send(type="follow", runners=lost)
        await charlie.send(type="follow", runners=["blocking"])
        await client.receive_type("snapshot")
        await charlie.receive_type("snapshot")
        await stage.adatabase(take_runners_away, stage.cast)
        reasons = [await client.receive_type("event", "access") for _ in lost]
        reasons.append(await charlie.receive_type("event", "access"))
        assert {event["reason"] for event in reasons} == {
            *("deleted", "expired", "private", "revoked", "blocked")
        }
        await stage.adatabase(stage.cast.users["charlie"].delete)
        await charlie.receive_until_close(4401)


def take_races_away(cast: Cast) -> None:
    Race.objects.filter(slug="hushed").update(visibility="link")
    cast.shares["secret"].revoke()
    too = ShareLink.objects.filter(pk=cast.shares["secret-too"].pk)
    too.update(expires_at=timezone.now())


async def lose_races(stage: Stage) -> None:
    # The token keeps the socket, whatever ends.
    async with stage.joined("typed", stage.tokens["other"]) as client:
        await client.send(type="follow", races=["hushed"])
        await client.send(type="follow", share=stage.links["secret"])
        await client.send(type="follow", share=stage.links["secret-too"])
        for _ in range(3):
            await client.receive_type("snapshot")
        await stage.adatabase(take_races_away, stage.cast)
        events = [await client.receive_type("event", "access") for _ in range(3)]
        assert {event["reason"] for event in events} == {
            *("private", "revoked", "expired")
        }


def end_tokens_and_link(cast: Cast) -> None:
    cast.phones["gone"].revoke()
    cast.phones["moved"].runner = cast.runners["other"]
    cast.phones["moved"].save()
    cast.shares["two"].revoke()


async def lose_what_a_socket_stands_on(stage: Stage) -> None:
    async with (
        stage.joined("typed", stage.tokens["gone"]) as gone,
        stage.joined("typed", stage.tokens["moved"]) as moved,
        stage.joined("typed") as shared,
    ):
        await shared.send(type="follow", share=stage.links["two"])
        await shared.receive_type("snapshot")
        await stage.adatabase(end_tokens_and_link, stage.cast)
        await gone.receive_until_close(4401)
        await moved.receive_until_close(1012)
        await shared.receive_until_close(4403)


SCENES: tuple[Scene, ...] = (
    lose_runners,
    lose_races,
    lose_what_a_socket_stands_on,
)
