"""The costs of spectators in memory and encoding. `make bench` has the figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from runners.live.audience import Audience
from runners.live.encoding import typed_dialect
from runners.live.encoding.frames import Frames
from runners.live.events import PositionAccepted
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from tests.live.socket_writers import RecordingWriter
from tests.servers import ROOT, Server, clean_environment

RUNNERS = 50
# Limit of the server's memory per spectator of a race.
MEMORY_LIMIT_KIB = 32.0


async def encoded_in_a_tick(
    hub: Hub, spectators: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, list[RecordingWriter]]:
    """Return the number of frames that a tick encodes, and their recipients."""
    encoded = 0
    encode = typed_dialect.positions_frame

    def counting(*args: Any) -> bytes:
        nonlocal encoded
        encoded += 1
        return encode(*args)

    monkeypatch.setattr(typed_dialect, "positions_frame", counting)
    audience = Audience(hub, 1_000)
    audience.introduced.update(range(RUNNERS))
    writers = [RecordingWriter() for _ in range(spectators)]
    for writer in writers:
        audience.members[TypedOutbox(writer, hub)] = None
    for runner in range(RUNNERS):
        audience.receive(
            Frames(PositionAccepted(runner, f"r{runner}", 1, 48.0, 2.0, 3, 0, None))
        )
    audience.flush()
    for _ in range(spectators // 500 + 1):
        await settled(hub)
    return encoded, writers


async def settled(hub: Hub) -> None:
    """Wait for one iteration of the event loop."""
    passed = hub.loop.create_future()
    hub.loop.call_soon(passed.set_result, None)
    await passed


@pytest.mark.parametrize("spectators", [100, 5_000])
async def test_a_tick_is_encoded_once_for_any_number_of_spectators(
    spectators: int, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, writers = await encoded_in_a_tick(hub, spectators, monkeypatch)

    assert encoded == 1
    # All sockets received the same object, not a copy.
    assert {len(writer.writes) for writer in writers} == {1}
    assert len({id(writer.writes[0][0]) for writer in writers}) == 1


def test_memory_per_spectator_is_limited(tmp_path: Path) -> None:
    with Server("uvicorn") as server:
        field = tmp_path / "field.json"
        field.write_bytes(
            subprocess.run(
                [sys.executable, "-m", "bench.field", "--runners", "5"],
                cwd=ROOT,
                env=clean_environment(**server.env),
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
        )
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bench.load", "idle", "--settle", "1"),
                *("--spectators", "500", "--runners", "5", "--field", str(field)),
                *("--url", server.ws_url, "--pid", str(server.pid)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
    result = orjson.loads(done.stdout)
    assert (result["closed"], result["errors"]) == (0, 0)
    assert result["kib_a_socket_reached"] <= MEMORY_LIMIT_KIB
