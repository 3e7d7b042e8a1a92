"""Snapshots, encoded in parts that clients who follow at the same time share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from runners.live.encoding.messages import Race, Runner
from runners.live.websocket_framing import text_frame

# Larger snapshots are sent in several parts.
SNAPSHOT_PART_BYTES = 256 * 1024


def snapshot_bodies(
    runners: Iterable[Runner | orjson.Fragment],
    races: Iterable[Race],
) -> list[bytes]:
    """Encode a snapshot in parts of at most `SNAPSHOT_PART_BYTES`, if its items allow.

    A runner may be encoded already. `snapshot_frame` completes each part; clients that
    follow at the same time share the parts.
    """
    parts: list[tuple[list[bytes], list[bytes]]] = [([], [])]
    size = 0
    for kind, items in ((0, races), (1, runners)):
        for item in items:
            encoded = orjson.dumps(item)
            if size and size + len(encoded) > SNAPSHOT_PART_BYTES:
                parts.append(([], []))
                size = 0
            parts[-1][kind].append(encoded)
            size += len(encoded) + 1
    return [
        b'{"type":"snapshot","races":[%b],"runners":[%b]'
        % (b",".join(race_items), b",".join(runner_items))
        for race_items, runner_items in parts
    ]


def snapshot_frame(body: bytes, **fields: Any) -> bytes:
    """Complete a part of a snapshot with the fields that differ between sockets."""
    return text_frame(body + b"," + msgspec.json.encode(fields)[1:])
