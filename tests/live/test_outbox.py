from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from runners.live import audience as audience_module
from runners.live.audience import Audience
from runners.live.encoding import seed_dialect
from runners.live.encoding.frames import Frames
from runners.live.encoding.messages import CheerAck, message_frame
from runners.live.events import LateFixes
from runners.live.hub import Hub
from runners.live.outbox import (
    MAX_EVENT_BYTES,
    SOCKETS_PER_PASS,
    SeedOutbox,
    TypedOutbox,
)
from runners.snapshots.items import Item
from runners.subscriptions.topic_members import Members
from tests.live.events import accepted, position
from tests.live.socket_writers import RecordingWriter
from tests.waiting import eventually


async def iterations() -> None:
    """Run the callbacks that are scheduled now, and those that they schedule."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_seed_outbox_sends_all_positions_in_order_in_one_write(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    for t in range(5):
        outbox.receive(position(7, t))
    await iterations()
    assert [m["lng"] for m in writer.messages] == [0, 1, 2, 3, 4]
    assert len(writer.writes) == 1


@pytest.mark.parametrize(("merge_s", "writes"), [(60, 1), (0, 5)])
async def test_positions_are_merged_into_one_write_while_more_arrive(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, merge_s: int, writes: int
) -> None:
    monkeypatch.setattr("runners.live.hub.MERGE_S", merge_s)
    writer = RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    for t in range(5):
        outbox.receive(position(7, t))
        await asyncio.sleep(0)
    await iterations()
    assert [m["lng"] for m in writer.messages] == [0, 1, 2, 3, 4]
    assert len(writer.writes) == writes


async def test_slow_seed_client_receives_the_newest_position_of_each_runner(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    writer.behind = True
    for t in range(1000):
        outbox.receive(position(7, t))
        outbox.receive(position(8, t))
    await iterations()
    assert writer.messages == []
    writer.drain()
    assert [(m["userId"], m["lng"]) for m in writer.messages] == [(7, 999), (8, 999)]
    assert hub.merged == 2 * 999
    outbox.receive(position(7, 1000))
    await iterations()
    assert writer.messages[-1]["lng"] == 1000


async def test_seed_outbox_sends_no_position_from_before_a_right(hub: Hub) -> None:
    writer, other = RecordingWriter(), RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    outbox.show_from(7, 3)
    await hub.subscribe([7], outbox)
    await hub.subscribe([7], SeedOutbox(other, hub))
    for t in range(5):
        hub.deliver_local(position(7, t).event)
    await iterations()
    assert [m["lng"] for m in writer.messages] == [3, 4]
    assert [m["lng"] for m in other.messages] == [0, 1, 2, 3, 4]


async def test_queued_positions_of_a_runner_who_is_not_followed_any_more_are_not_sent(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    outbox.receive(position(7, 1))
    outbox.receive(position(8, 1))
    outbox.forget(7)
    await iterations()
    assert [m["userId"] for m in writer.messages] == [8]


async def test_typed_outbox_sends_one_frame_per_tick_with_the_newest_positions(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = TypedOutbox(writer, hub)
    outbox.tick = 100
    for t in range(3):
        outbox.receive(position(7, t))
    outbox.receive(position(8, 9))
    await eventually(lambda: writer.messages)
    (frame,) = writer.messages
    assert [row[:2] for row in frame["fixes"]] == [["7", 2], ["8", 9]]
    assert frame["merged"] == hub.merged == 2


async def test_typed_outbox_with_tick_0_sends_immediately(hub: Hub) -> None:
    writer = RecordingWriter()
    outbox = TypedOutbox(writer, hub)
    outbox.tick = 0
    outbox.receive(position(7, 1))
    await iterations()
    assert len(writer.messages) == 1


async def test_slow_typed_client_receives_the_newest_position_when_it_reads(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = TypedOutbox(writer, hub)
    outbox.tick = 0
    writer.behind = True
    for t in range(50):
        outbox.receive(position(7, t))
        await iterations()
    assert writer.messages == []
    writer.drain()
    (frame,) = writer.messages
    assert frame["fixes"][0][1] == 49
    assert frame["merged"] == hub.merged == 49


async def test_typed_outbox_sends_late_points_completely_and_not_as_positions(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = TypedOutbox(writer, hub)
    outbox.receive(Frames(LateFixes(7, "7", [(1, 48.0, 2.0)])))
    await iterations()
    (frame,) = writer.messages
    assert frame == {"type": "late", "runner": "7", "fixes": [[1, 48.0, 2.0]]}


async def test_events_wait_for_a_slow_client_and_keep_their_order(hub: Hub) -> None:
    writer = RecordingWriter()
    outbox = TypedOutbox(writer, hub)
    writer.behind = True
    for number in range(3):
        outbox.send_event(message_frame(CheerAck(id=number)))
    writer.drain()
    assert [m["id"] for m in writer.messages] == [0, 1, 2]


async def test_a_client_with_too_many_queued_events_is_closed(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    writer.behind = True
    frame = seed_dialect.error_frame("position.invalid", "x" * 1000)
    for _ in range(MAX_EVENT_BYTES // 2000):
        outbox.send_event(frame)
    assert writer.code is None
    for _ in range(MAX_EVENT_BYTES // 1000):
        outbox.send_event(frame)
    assert writer.code == 4413


async def test_heartbeat_is_sent_after_silence_only(hub: Hub) -> None:
    writer = RecordingWriter()
    outbox = TypedOutbox(writer, hub)
    outbox.heartbeat(outbox.last_frame - 1)
    assert writer.messages == []
    outbox.heartbeat(outbox.last_frame + 1)
    (frame,) = writer.messages
    assert frame["type"] == "positions"
    assert frame["fixes"] == []


async def test_sockets_are_not_looked_at_while_none_has_been_silent(hub: Hub) -> None:
    looked_at = []

    class Observed(TypedOutbox):
        def heartbeat(self, silent_since: float) -> float:
            looked_at.append(silent_since)
            return super().heartbeat(silent_since)

    writer = RecordingWriter()
    outbox = Observed(writer, hub)
    hub.sockets.add(outbox)
    sent = outbox.last_frame
    for silent_since in (sent - 9, sent - 8, sent, sent + 1):
        hub._send_heartbeats(silent_since)
    assert looked_at == [sent - 9, sent + 1]
    assert len(writer.messages) == 1


def audience_of(hub: Hub, *writers: RecordingWriter) -> Audience:
    audience = Audience(hub, 0)
    audience.introduced.update({7, 8})
    for writer in writers:
        audience.members[TypedOutbox(writer, hub)] = None
    return audience


async def test_audience_members_share_one_encoded_frame(hub: Hub) -> None:
    alice, bob = RecordingWriter(), RecordingWriter()
    audience = audience_of(hub, alice, bob)
    audience.receive(position(7, 0))
    audience.receive(position(7, 1))
    audience.receive(position(8, 1))
    await iterations()
    assert alice.messages == bob.messages
    assert alice.writes[0][0] is bob.writes[0][0]
    # Alice and Bob each got two of three positions.
    assert (hub.delivered, hub.merged) == (4, 2)


async def test_slow_audience_member_skips_frames_and_catches_up(
    hub: Hub,
) -> None:
    alice, bob = RecordingWriter(), RecordingWriter()
    audience = audience_of(hub, alice, bob)
    audience.receive(position(7, 1))
    audience.receive(position(8, 1))
    await iterations()
    bob.behind = True
    audience.receive(position(7, 2))
    for t in range(3, 12):
        audience.receive(position(7, t))
        await iterations()
    assert len(alice.messages) == 10
    assert len(bob.messages) == 1
    bob.drain()
    # Runner 8 has no new position, and only the newest of runner 7 is sent.
    assert [row[:2] for row in bob.messages[-1]["fixes"]] == [["7", 11]]
    # One was merged in a tick, for Alice too, and eight in skipped frames.
    assert bob.messages[-1]["merged"] == 9
    # Each of the twelve positions was sent to each member, or counted.
    assert (hub.delivered, hub.merged) == (11 + 3, 1 + 9)
    audience.receive(position(7, 12))
    await iterations()
    assert bob.messages[-1] == alice.messages[-1]


async def test_skipped_frames_of_several_audiences_are_caught_up_one_after_another(
    hub: Hub,
) -> None:
    class FullWriter(RecordingWriter):
        def write(self, frames: Sequence[bytes]) -> None:
            super().write(frames)
            self.behind = True

    writer = FullWriter()
    writer.behind = True
    audiences = [audience_of(hub, writer), audience_of(hub)]
    audiences[1].members = audiences[0].members
    for runner in (7, 8):
        for audience in audiences:
            audience.receive(position(runner, 1))
        await iterations()
    for _ in range(2):
        writer.drain()
    rows = [[row[0] for row in m["fixes"]] for m in writer.messages]
    assert rows == [["7", "8"], ["7", "8"]]


@pytest.mark.parametrize("behind", [False, True])
async def test_positions_that_are_queued_for_a_tick_are_sent_at_a_different_one(
    hub: Hub, behind: bool
) -> None:
    writer = RecordingWriter()
    member = TypedOutbox(writer, hub)
    members = Members(hub, None, {})
    members.items = {7: cast(Item, {}), 8: cast(Item, {})}
    member.tick = 0
    audience = members.add(member)
    writer.behind = behind
    audience.receive(position(7, 0))
    audience.receive(position(7, 1))
    await iterations()
    member.tick = 10_000
    await members.change_tick(member)
    hub.deliver_local(accepted(8, 1))
    member.tick = 0
    await members.change_tick(member)
    writer.drain()
    await iterations()
    rows = [row[0] for frame in writer.messages for row in frame["fixes"]]
    assert rows == ["7", "8"]
    assert (hub.delivered, hub.merged) == (2, 1)
    members.remove(member)
    assert not members.audiences


async def test_a_faster_tick_loses_no_position_that_waited_for_a_slow_one(
    hub: Hub,
) -> None:
    writers = RecordingWriter(), RecordingWriter()
    other, member = (TypedOutbox(writer, hub) for writer in writers)
    members = Members(hub, None, {})
    members.items = {7: cast(Item, {}), 8: cast(Item, {})}
    other.tick, member.tick = 10, 10_000
    fast, slow = members.add(other), members.add(member)
    for audience in (fast, slow):
        assert audience.joining is not None
        await audience.joining
    slow.receive(position(7, 1))
    # A frame of the other audience is due when the member joins it.
    fast.receive(position(8, 1))
    member.tick = 10
    await members.change_tick(member)
    fast.receive(position(7, 2))
    await eventually(lambda: len(writers[1].messages) == 2)
    rows = [row[:2] for frame in writers[1].messages for row in frame["fixes"]]
    assert rows == [["7", 1], ["8", 1], ["7", 2]]


async def test_backfill_of_a_member_is_not_sent_after_a_newer_shared_position(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    audience = audience_of(hub, writer)
    audience.tick = 10
    (member,) = audience.members
    member.tick = 10
    # The audience is flushed first, since it was the first with a position.
    audience.receive(position(7, 1))
    for runner in (7, 8):
        member.receive(position(runner, 1))
    audience.receive(position(7, 2))
    await eventually(lambda: len(writer.messages) == 2)
    rows = [row[:2] for frame in writer.messages for row in frame["fixes"]]
    assert rows == [["7", 2], ["8", 1]]


async def test_discarded_positions_are_not_sent_as_backfill_of_a_member(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    audience = audience_of(hub, writer)
    (member,) = audience.members
    member.tick = 0
    for runner in (7, 8):
        member.receive(position(runner, 1))
    audience.discard_positions(7)
    await iterations()
    rows = [row[0] for frame in writer.messages for row in frame["fixes"]]
    assert rows == ["8"]


async def test_audience_sends_no_position_of_a_runner_before_their_item(
    hub: Hub,
) -> None:
    alice = RecordingWriter()
    audience = audience_of(hub, alice)
    audience.receive(position(9, 1))
    await iterations()
    assert alice.messages == []
    audience.introduced.add(9)
    audience.receive(position(9, 2))
    await iterations()
    assert [row[:2] for row in alice.messages[0]["fixes"]] == [["9", 2]]


async def test_audience_writes_no_frame_while_the_previous_one_is_being_written(
    hub: Hub,
) -> None:
    writers = [RecordingWriter() for _ in range(2 * SOCKETS_PER_PASS + 1)]
    audience = audience_of(hub, *writers)
    audience.receive(position(7, 1))
    while not writers[0].messages:
        await asyncio.sleep(0)
    assert not writers[-1].messages
    # Two positions arrive before the first one is written to the last member, who gets
    # one frame with the newest.
    audience.receive(position(7, 2))
    audience.receive(position(7, 3))
    for _ in range(6):
        await iterations()
    for writer in (writers[0], writers[-1]):
        assert [row[1] for m in writer.messages for row in m["fixes"]] == [1, 3]
    assert sum(hub.ages.counts) == hub.delivered == 2 * len(writers)


@pytest.mark.parametrize("change", ["drains", "changes its tick"])
@pytest.mark.parametrize("turn", [0, 1], ids=["before its turn", "after its turn"])
async def test_a_member_gets_a_frame_once_that_is_being_written(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, change: str, turn: int
) -> None:
    monkeypatch.setattr(audience_module, "SOCKETS_PER_PASS", 1)
    writers = RecordingWriter(), RecordingWriter()
    outboxes = [TypedOutbox(writer, hub) for writer in writers]
    members = Members(hub, None, {})
    members.items = {7: cast(Item, {})}
    for outbox in outboxes:
        outbox.tick = 0
        shared = members.add(outbox)
    assert shared.joining is not None
    await shared.joining
    writer, member = writers[1 - turn], outboxes[1 - turn]
    writer.behind = change == "drains"
    for t in range(2):
        shared.receive(position(7, t))
        shared.flush()
        if t == 0:
            await iterations()
    # Now the second frame is written to the first member only.
    if change == "drains":
        writer.drain()
    else:
        shared.hand_over(member)
        member.flush()
    await eventually(lambda: (hub.delivered + hub.merged) == 4)
    await iterations()
    assert hub.delivered + hub.merged == 4
    times = [row[1] for frame in writer.messages for row in frame["fixes"]]
    assert times == ([1] if change == "drains" else [0, 1])


async def test_replies_of_one_iteration_are_one_write_before_the_close(
    hub: Hub,
) -> None:
    writer = RecordingWriter()
    outbox = SeedOutbox(writer, hub)
    frames = [seed_dialect.error_frame("position.invalid", str(n)) for n in range(3)]
    for frame in frames:
        outbox.send_event(frame)
    await iterations()
    assert writer.writes == [frames]
    outbox.send_event(frames[0])
    outbox.close(1012)
    assert writer.writes[1] == frames[:1]
    assert writer.code == 1012
