"""The seed dialect: the protocol of the server of 2015, which its clients still use.

=> {"initialRequest": true, "following": [7, "8"], "userId": 7}
=> {"userId": 7, "lat": 48.85, "lng": 2.35}
<- {"userId": 7, "lat": 48.85, "lng": 2.35}
<- {"error": "position.invalid", "detail": "..."}
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from runners.live.encoding.ids import WireId
from runners.live.websocket_framing import text_frame


def position_frame(wire_id: WireId, lat: float, lng: float) -> bytes:
    """Encode one position with the precision that its publisher sent."""
    return text_frame(orjson.dumps({"userId": wire_id, "lat": lat, "lng": lng}))


# Cached, because a faulty client repeats its error.
@lru_cache(256)
def error_frame(code: str, detail: str) -> bytes:
    return text_frame(orjson.dumps({"error": code, "detail": detail}))
