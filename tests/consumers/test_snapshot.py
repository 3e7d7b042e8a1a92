"""A snapshot and the rights that end while it is read."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

from runners.consumers.commands.follow import read_snapshot

NED = 7


async def test_a_snapshot_leaves_out_a_runner_whose_right_ends_during_the_read() -> (
    None
):
    followed = SimpleNamespace(
        runners={"ned": NED},
        topics={},
        begins_of=lambda runners: dict.fromkeys(runners, 0),
    )
    reads: list[list[int]] = []

    async def snapshot(runners: Collection[int]) -> list[bytes]:
        reads.append([*runners])
        # At the first call his right ends, and the client is notified before the
        # snapshot.
        followed.runners.clear()
        return [b"%d runners" % len(runners)]

    process = SimpleNamespace(runner_reads=SimpleNamespace(snapshot=snapshot))
    session = SimpleNamespace(followed=followed, process=process)
    typed = SimpleNamespace(session=session, outbox=None)
    bodies, _ = await read_snapshot(typed, [], [NED], None)  # type: ignore[arg-type]
    assert reads == [[NED], []]
    assert bodies == [b"0 runners"]
