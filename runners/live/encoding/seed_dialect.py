"""The seed dialect: the protocol of the server of 2015, which its clients still use.

=> {"initialRequest": true, "following": [7, "8"], "userId": 7}
=> {"userId": 7, "lat": 48.85, "lng": 2.35}
<- {"userId": 7, "lat": 48.85, "lng": 2.35}
<- {"error": "position.invalid", "detail": "..."}
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from runners.live.encoding.ids import wire_id_of
from runners.live.events import Event, PositionAccepted
from runners.live.websocket_framing import text_frame


def encode(event: Event) -> bytes:
    """Encode a position with the precision that its publisher sent; nothing else."""
    if type(event) is not PositionAccepted:
        return b""
    wire_id = wire_id_of(event.code) if event.wire_id is None else event.wire_id
    return text_frame(
        orjson.dumps({"userId": wire_id, "lat": event.lat, "lng": event.lng})
    )


# Cached, because a faulty client repeats its error.
@lru_cache(256)
def error_frame(code: str, detail: str) -> bytes:
    return text_frame(orjson.dumps({"error": code, "detail": detail}))
