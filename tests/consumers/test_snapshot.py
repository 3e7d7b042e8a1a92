"""A snapshot and the rights that end while it is read."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

from runners.consumers.typed import TypedConsumer

NED = 7


async def test_a_snapshot_leaves_out_a_runner_whose_right_ends_during_the_read() -> (
    None
):
    socket = SimpleNamespace(following={"ned": NED}, topic_names={}, outbox=None)
    reads: list[list[int]] = []

    async def snapshot(runners: Collection[int]) -> list[bytes]:
        reads.append([*runners])
        # At the first call his right ends, and the client is notified before the
        # snapshot.
        socket.following.clear()
        return [b"%d runners" % len(runners)]

    socket.runner_reads = SimpleNamespace(snapshot=snapshot)
    socket.shown_of = lambda *args: TypedConsumer.shown_of(socket, *args)  # type: ignore[arg-type]
    bodies, _ = await TypedConsumer.read_snapshot(socket, [], [NED], None)  # type: ignore[arg-type]
    assert reads == [[NED], []]
    assert bodies == [b"0 runners"]
