"""The dialect of the 2015 server, which its clients speak unchanged.

=> {"initialRequest": true, "following": [7, "8"], "userId": 7}
=> {"userId": 7, "lat": 48.85, "lng": 2.35}
<- {"userId": 7, "lat": 48.85, "lng": 2.35}
<- {"error": "position.invalid", "detail": "..."}
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from runners.live.dialects.ids import WireId
from runners.live.frames import text_frame


def position_frame(wire_id: WireId, lat: float, lng: float) -> bytes:
    """Encode one position, its numbers as precise as they came."""
    return text_frame(orjson.dumps({"userId": wire_id, "lat": lat, "lng": lng}))


# A client that is wrong is so again and again.
@lru_cache(256)
def error_frame(code: str, detail: str) -> bytes:
    return text_frame(orjson.dumps({"error": code, "detail": detail}))
