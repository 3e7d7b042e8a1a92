"""Reading the server's metrics."""

from __future__ import annotations

import urllib.request

from tests.servers import Server
from tests.waiting import PATIENCE_S


def metrics(server: Server) -> dict[str, float]:
    """Read /metrics and return the values by name, labels included."""
    with urllib.request.urlopen(
        f"{server.url}/metrics", timeout=PATIENCE_S
    ) as response:
        lines = response.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def gauge(server: Server, name: str) -> float:
    return metrics(server)[name]
