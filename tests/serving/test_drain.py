from __future__ import annotations

from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from runners.live.outbox import SeedOutbox, TypedOutbox
from runners.recovery.backfill import Backfiller
from runners.serving.drain import CLOSES_PER_S, RECONNECTS_PER_S, close_sockets
from tests.live.socket_writers import RecordingWriter
from tests.virtual_time import virtual_time


@virtual_time
async def test_sockets_are_asked_to_reconnect_and_closed_in_stages() -> None:
    hub = Hub(LocalLayer())
    count = CLOSES_PER_S // 4
    typed = [RecordingWriter() for _ in range(count)]
    seed = RecordingWriter()
    hub.sockets.update(TypedOutbox(writer, hub) for writer in typed)
    hub.sockets.add(SeedOutbox(seed, hub))
    open_after: list[int] = []
    started = hub.loop.time()
    hub.loop.call_later(
        0.05, lambda: open_after.append(sum(writer.code is None for writer in typed))
    )
    await close_sockets(Backfiller(hub), lambda: False)
    assert {writer.code for writer in (*typed, seed)} == {1012}
    # Some sockets are closed immediately, the last within a quarter of a second.
    assert 0 < open_after[0] < count
    assert hub.loop.time() - started <= 0.25
    messages = [writer.messages for writer in typed]
    assert all(
        len(received) == 1 and received[0]["type"] == "reconnect"
        for received in messages
    )
    delays = [sent[0]["after"] for sent in messages]
    assert 0 <= min(delays) < max(delays) <= 1000 * (count + 1) / RECONNECTS_PER_S
    assert seed.messages == []
    await hub.close()


@virtual_time
async def test_a_hurried_drain_closes_all_sockets_at_once() -> None:
    hub = Hub(LocalLayer())
    writers = [RecordingWriter() for _ in range(CLOSES_PER_S)]
    hub.sockets.update(SeedOutbox(writer, hub) for writer in writers)
    started = hub.loop.time()
    await close_sockets(Backfiller(hub), lambda: True)
    assert all(writer.code == 1012 for writer in writers)
    assert hub.loop.time() == started
    await hub.close()


@virtual_time
async def test_a_slow_client_receives_its_queue_before_the_close() -> None:
    hub = Hub(LocalLayer())
    slow = RecordingWriter()
    outbox = TypedOutbox(slow, hub)
    hub.sockets.add(outbox)
    slow.behind = True
    outbox.send_event(b"late")
    hub.loop.call_later(0.1, slow.drain)
    closed_at_drain: list[int | None] = []
    hub.loop.call_later(0.1, lambda: closed_at_drain.append(slow.code))
    await close_sockets(Backfiller(hub), lambda: False)
    assert slow.writes[0][0] == b"late"
    assert closed_at_drain == [None]
    assert slow.code == 1012
    await hub.close()
