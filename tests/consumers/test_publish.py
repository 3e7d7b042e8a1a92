"""Replies to publications that are not stored."""

from __future__ import annotations

from typing import cast

import pytest

from runners.consumers.commands.publish import publish
from runners.consumers.messages import Publish
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.messages import PublishAck
from runners.models import Runner
from runners.positions import recorder
from runners.positions.track import Publisher
from runners.serving.process import Process
from runners.units.clock import now_ms
from runners.units.errors import CodedError
from tests.waiting import eventually


class Phone:
    """A session without a socket, which keeps the ack or the error code of each reply.

    It is its own `session`.
    """

    def __init__(self, process: Process, publisher: Publisher) -> None:
        self.session, self.process, self.publisher = self, process, publisher
        self.replies: list[object] = []

    def limit_fixes(self, count: int) -> None: ...

    def count_accepted(self, fixes: int) -> None: ...

    def record_refused(self, refused: object) -> None: ...

    def send_store_unavailable(self, command: Publish) -> None:
        self.replies.append("store.unavailable")

    def send_error(self, error: CodedError, command: Publish) -> None:
        self.replies.append(error.code)

    def answer(self, ack: PublishAck, command: Publish) -> None:
        self.replies.append(ack.stored)


async def test_fixes_that_are_not_stored_get_an_error_instead_of_an_ack(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would tell the pipeline that the runner is deleted.
    await process.access_monitor.close()
    bob = await Runner.objects.acreate(code="bob", name="Bob")
    phone = Phone(process, Publisher(bob.pk, bob.code))

    async def reply(count: int) -> object:
        now = now_ms()
        fixes = [{"t": now - n, "lat": 48.0, "lng": 2.0} for n in range(count)]
        await publish(cast(Typed, phone), Publish(fixes=fixes))
        await eventually(lambda: phone.replies)
        return phone.replies.pop()

    assert await reply(2) == 2
    with monkeypatch.context() as full:
        full.setattr(recorder, "CAPACITY", 0)
        assert await reply(1) == "store.unavailable"
    await bob.adelete()
    assert await reply(2) == "runner.unknown"
    assert phone.replies == []
