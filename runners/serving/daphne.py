"""Settings of the `daphne` command that it has no options for."""

from __future__ import annotations

import sys

# Autobahn's default is 1 s, after which it resets the connection: a client that is
# slower, such as a phone that wakes up, may lose the close code unread.
CLOSE_TIMEOUT_S = 10


def wait_for_close_replies() -> None:
    """Give clients of Daphne more time to reply to a close frame.

    Does nothing under other servers, which do not import Daphne's protocol.
    """
    if protocol := sys.modules.get("daphne.ws_protocol"):
        # Autobahn prefers an attribute of the protocol to the factory's option.
        protocol.WebSocketProtocol.closeHandshakeTimeout = CLOSE_TIMEOUT_S
