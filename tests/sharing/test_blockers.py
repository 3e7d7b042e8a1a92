"""Blocked users on topics, while sockets join."""

from __future__ import annotations

from typing import Any

import pytest

from runners import database
from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from runners.live.outbox import TypedOutbox
from runners.rights.access import blockers_of
from runners.subscriptions.topic import TopicName
from runners.subscriptions.topic_members import Blockers
from runners.subscriptions.topic_reads import Version
from runners.subscriptions.topic_registry import TopicRegistry
from tests.live.socket_writers import RecordingWriter

ALICE = 2
HER_BLOCKERS = frozenset({7})


async def test_a_block_applies_to_a_socket_that_joins_while_blocks_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub(LocalLayer())
    topics, public = TopicRegistry(hub), TopicName()
    outbox, other = (TypedOutbox(RecordingWriter(), hub) for _ in range(2))

    async def read(function: Any, *args: Any) -> Any:
        if function is blockers_of:
            return {ALICE: HER_BLOCKERS}
        return Version(None, None, None), {}

    async def read_rights(*args: Any) -> dict[int, Blockers]:
        # The query started before Alice joined, so its result does not contain her.
        await topics.join(public, outbox, ALICE)
        return {}

    monkeypatch.setattr(database, "read", read)
    monkeypatch.setattr(database, "read_snapshot", read)
    monkeypatch.setattr(database, "read_rights", read_rights)
    await topics.join(public, other, 1)
    await topics.refresh_blockers(set(HER_BLOCKERS))
    (audience,) = (
        audience
        for (_, blockers), audience in topics.of(public).members.audiences.items()
        if blockers == HER_BLOCKERS
    )
    assert list(audience.members) == [outbox]
    topics.leave([public], outbox)
    topics.leave([public], other)
    await hub.close()
