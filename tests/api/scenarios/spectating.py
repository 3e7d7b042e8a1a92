"""Requests of spectators and the replies, in both dialects."""

from __future__ import annotations

import asyncio

from runners.units.clock import now_ms
from tests.api.scenarios.context import Context, Scenario, has_fields


async def use_the_seed_dialect(context: Context) -> None:
    async with (
        context.joined("seed", context.tokens["7"]) as phone,
        context.joined("seed") as alice,
    ):
        await alice.send(initialRequest=True, following=[7, "8"], userId=9)
        await alice.send_invalid(initialRequest=True, following=["nobody", "a b"])
        await alice.receive_codes("runner.unknown", "runner.invalid")
        await phone.send(lat=48, lng=2.5)
        await phone.send(userId="7", lat=48, lng=2)
        details = {"accuracy": 5, "altitude": 35, "speed": 3.4, "heading": 270}
        await phone.send(
            userId=7, lat=48.1, lng=2, time=now_ms() + 2000, battery=81, **details
        )
        received = [await alice.receive() for _ in range(3)]
        assert [message["userId"] for message in received] == [7, "7", 7]
        await phone.send_invalid(userId=8, lat=48, lng=2)
        await phone.send_invalid(userId=7, lat=148, lng=2)
        await phone.receive_codes("runner.mismatch", "position.invalid")
        await alice.send_invalid(userId=7, lat=48, lng=2)
        await alice.send_invalid(hello="there")
        await alice.receive_codes("token.required", "message.invalid")


async def authenticate(context: Context) -> None:
    async with context.joined("typed") as client:
        welcome = await client.receive_type("welcome")
        assert welcome["runner"] is None
        for id_ in (1, "one", None, True):
            await client.send(type="ping", id=id_, at=12345)
            assert (await client.receive_type("pong"))["at"] == 12345
        await client.send(type="auth", id=2, token=context.tokens["8"])
        assert (await client.receive_type("welcome"))["runner"] == "8"
        await client.send_invalid(type="greet")
        await client.send_invalid(type="publish", fixes=[])
        await client.receive_codes("message.unknown", "publish.invalid")
        await client.send_invalid(type="auth", token="wrong")
        await client.receive_until_close(4401)


async def follow_and_unfollow(context: Context) -> None:
    async with context.joined("typed") as client:
        await client.send(
            **{"type": "follow", "id": 1, "public": True, "tick": 100},
            runners=["8", 7],
            races=["plain", "city", "ten"],
        )
        # Each topic is a separate part of the snapshot.
        await client.receive_until(has_fields(more=True))
        await client.receive_until(has_fields(more=False))
        await client.send(type="follow", id=None, runners=["dora"], races=[])
        await client.receive_type("snapshot")
        await client.send_invalid(
            type="follow",
            runners=["nobody", 1.5, True, None, "a b"],
            races=["nowhere", 1.5, True, None],
        )
        await client.receive_codes("runner.unknown", "runner.invalid", "race.unknown")
        await client.send_invalid(type="follow", runners=[str(n) for n in range(20)])
        await client.receive_codes("follow.limit")
        await client.send(
            type="unfollow", id=2, runners=[7], races=["city"], public=True
        )
        assert (await client.receive_type("unfollowed"))["public"]


async def follow_while_pending(context: Context) -> None:
    async with context.joined("typed", cookie=context.cookies["alice"]) as client:
        await client.send(type="follow", runners=["finn"])
        await client.receive_codes("follow.forbidden")


async def open_links(context: Context) -> None:
    await asyncio.gather(
        open_link(context, "none", "share.unknown"),
        open_link(context, "revoked", "share.revoked"),
        open_link(context, "expired", "share.expired"),
        open_link(context, "locked", "share.pin"),
    )
    async with context.joined("typed") as client:
        await client.send(type="follow", share=context.links["locked"], pin="1234")
        snapshot = await client.receive_type("snapshot")
        assert [runner["code"] for runner in snapshot["runners"]] == ["linked"]


async def open_link(context: Context, name: str, code: str) -> None:
    async with context.joined("typed") as client:
        await client.send(type="follow", share=context.links.get(name, name))
        await client.receive_codes(code)


async def cheer(context: Context) -> None:
    async with context.joined("typed") as alice:
        await alice.send(type="follow", runners=["cheered"])
        await alice.send_invalid(type="cheer", runner="cheered", text="")
        await alice.send(type="cheer", runner="off", text="Allez")
        await alice.receive_codes("cheer.invalid", "cheer.off")
        await alice.send(type="cheer", id=1, runner="cheered", text="Allez")
        await alice.receive_type("event", "cheer")
        for _ in range(5):
            await alice.send(type="cheer", id=1, runner="cheered", text="Allez")
        await alice.receive_codes("rate.limited")


SCENARIOS: tuple[Scenario, ...] = (
    use_the_seed_dialect,
    authenticate,
    follow_and_unfollow,
    follow_while_pending,
    open_links,
    cheer,
)
