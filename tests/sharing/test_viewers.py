"""The number of viewers of a link, in all processes."""

from __future__ import annotations

import asyncio

import pytest
from django.utils import timezone

from runners import database
from runners.models import LinkViewers, Runner, ShareLink
from runners.models.share import VIEWERS_AGE
from runners.subscriptions import access_monitor
from runners.subscriptions.access_monitor import AccessMonitor
from tests.factories.people import make_link
from tests.sharing.test_access_monitor import monitor as monitor  # noqa: F401
from tests.waiting import PATIENCE_S


def bobs_link() -> ShareLink:
    bob, _ = Runner.objects.get_or_create(code="bob", name="Bob")
    return make_link(bob)[0]


def viewers(link: ShareLink) -> int:
    return ShareLink.objects.with_viewers().get(pk=link.pk).viewers  # type: ignore[attr-defined, no-any-return]


def test_viewers_of_all_processes_count_until_their_process_is_silent(db: None) -> None:
    mums, dads = bobs_link(), bobs_link()
    LinkViewers.objects.say("one", {mums.pk: 2, dads.pk: 1})
    LinkViewers.objects.say("two", {mums.pk: 3})
    assert (viewers(mums), viewers(dads)) == (5, 1)
    LinkViewers.objects.say("one", {mums.pk: 1})
    assert (viewers(mums), viewers(dads)) == (4, 0)
    # Process two was killed.
    LinkViewers.objects.filter(process="two").update(
        seen_at=timezone.now() - VIEWERS_AGE
    )
    assert viewers(mums) == 1
    LinkViewers.objects.say("one", {})
    assert viewers(mums) == 0
    assert not LinkViewers.objects.exists()


async def test_a_process_reports_its_viewers(
    monitor: AccessMonitor,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = await database.read(bobs_link)

    async def reaches(count: int, link: ShareLink = link) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await database.read(viewers, link) != count:
                await asyncio.sleep(0.02)

    monkeypatch.setattr(access_monitor, "COUNT_VIEWERS_S", 0.05)
    counting = asyncio.create_task(monitor._count_viewers())
    for _ in range(2):
        assert monitor.count_socket("link", link.pk, 50)
    await reaches(2)
    monitor.release_sockets([("link", link.pk)])
    await reaches(1)
    # Deleting a link meanwhile does not end the count.
    other = await database.read(bobs_link)
    monitor.count_socket("link", other.pk, 50)
    await database.read(other.delete)
    third = await database.read(bobs_link)
    monitor.count_socket("link", third.pk, 50)
    await reaches(1, third)
    monitor.release_sockets([("link", row.pk) for row in (link, other, third)])
    await reaches(0)
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
