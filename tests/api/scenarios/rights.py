"""Rights that end on open sockets."""

from __future__ import annotations

from django.utils import timezone

from runners.models import Race, ShareLink
from runners.preferences.runner_settings import (
    runner_delete,
    sharing_until,
    visibility_set,
)
from tests.api.scenarios.context import Context, Scenario, has_fields
from tests.api.scenarios.rows import Rows
from tests.clients import Message
from tests.factories.people import make_follow


def hide_runners(rows: Rows) -> None:
    runner_delete(runner=rows.runners["deleted"])
    sharing_until(runner=rows.runners["expiring"], ends=timezone.now())
    visibility_set(runner=rows.runners["hiding"], visibility="private")
    visibility_set(runner=rows.runners["leaving"], visibility="followers")
    make_follow(rows.users["charlie"], rows.runners["blocking"], "blocked")


async def lose_runners(context: Context) -> None:
    async with (
        context.joined("typed") as client,
        context.joined("typed", cookie=context.cookies["charlie"]) as charlie,
    ):
        lost = ["deleted", "expiring", "hiding", "leaving"]
        await client.send(type="follow", runners=lost)
        await charlie.send(type="follow", runners=["blocking"])
        await client.receive_type("snapshot")
        await charlie.receive_type("snapshot")
        await context.adatabase(hide_runners, context.rows)
        reasons = [await client.receive_type("event", "access") for _ in lost]
        reasons.append(await charlie.receive_type("event", "access"))
        assert {event["reason"] for event in reasons} == {
            *("deleted", "expired", "private", "revoked", "blocked")
        }
        await context.adatabase(context.rows.users["charlie"].delete)
        await charlie.receive_until_close(4401)


def hide_races(rows: Rows) -> None:
    Race.objects.filter(slug="hushed").update(visibility="link")
    rows.shares["secret"].revoke()
    expiring = [rows.shares[name].pk for name in ("secret-too", "plain")]
    links = ShareLink.objects.filter(pk__in=expiring)
    links.update(expires_at=timezone.now())


async def lose_races(context: Context) -> None:
    # The token keeps the socket open.
    async with context.joined("typed", context.tokens["other"]) as client:
        # The last one is public: only the link to it ends.
        links = [context.links[name] for name in ("secret", "secret-too", "plain")]
        follows: list[Message] = [
            {"races": ["hushed"]},
            *({"share": link} for link in links),
        ]
        for n, follow in enumerate(follows, 1):
            await client.send(type="follow", id=n, **follow)
            await client.receive_until(has_fields(type="snapshot", id=n))
        await context.adatabase(hide_races, context.rows)
        events = [await client.receive_type("event", "access") for _ in follows]
        assert {event["race"]: event["reason"] for event in events} == {
            "hushed": "private",
            "secret": "revoked",
            "secret-too": "expired",
            "plain": "expired",
        }, events


def end_tokens_and_link(rows: Rows) -> None:
    rows.phones["gone"].revoke()
    rows.phones["moved"].runner = rows.runners["other"]
    rows.phones["moved"].save()
    rows.shares["two"].revoke()


async def lose_the_right_of_a_socket(context: Context) -> None:
    async with (
        context.joined("typed", context.tokens["gone"]) as gone,
        context.joined("typed", context.tokens["moved"]) as moved,
        context.joined("typed") as shared,
    ):
        await shared.send(type="follow", share=context.links["two"])
        await shared.receive_type("snapshot")
        await context.adatabase(end_tokens_and_link, context.rows)
        await gone.receive_until_close(4401)
        await moved.receive_until_close(1012)
        await shared.receive_until_close(4403)


SCENARIOS: tuple[Scenario, ...] = (
    lose_runners,
    lose_races,
    lose_the_right_of_a_socket,
)
