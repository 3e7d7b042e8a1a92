"""The application without its recorder, to measure what recording costs the live flow.

Fixes are acked immediately and dropped. Used only by tests: `sustained.py` starts a
server with tests/faults/unrecorded_settings.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spectate.asgi import application as application  # sets Django up

# isort: split
from runners.positions.recorder import Recorder
from runners.positions.storage import Row
from runners.serving import process


class DroppingRecorder(Recorder):
    """Acks rows and drops them."""

    def record(
        self, rows: Sequence[Row], changes: object = (), accepted_at: object = None
    ) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(0)
        return future

    def record_unacked(
        self, rows: Sequence[Row], changes: object = (), accepted_at: object = None
    ) -> None:
        """Drop rows that need no ack."""


process.Recorder = DroppingRecorder  # type: ignore[attr-defined]
