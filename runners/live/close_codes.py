"""The close codes of the websocket, as listed in docs/protocol.md."""

from __future__ import annotations

FRAME_TOO_BIG = 1009
# The server failed.
INTERNAL_ERROR = 1011
# The server restarts, or the client has to reconnect, which takes it some seconds.
RECONNECT = 1012
# The server is overloaded, and the client backs off.
OVERLOADED = 1013
NOT_OUR_PROTOCOL = 4400
NOT_SIGNED_IN = 4401
NO_LONGER_ALLOWED = 4403
# The client sent no valid message in time.
SILENT = 4408
# The client did not read fast enough.
TOO_FAR_BEHIND = 4413
TOO_FAST = 4429
