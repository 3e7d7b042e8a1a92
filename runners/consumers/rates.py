"""The rates of one socket."""

from __future__ import annotations

import math

from runners.live.close_codes import TOO_FAST
from runners.live.outbox import Outbox
from runners.positions.rate_limits import Bucket
from runners.serving.process import COMMAND_BURST, COMMANDS_PER_S, Process
from runners.units.errors import CodedError

# Messages refused for their rate, less those accepted since, before the socket is
# closed.
TOO_FAST_LIMIT = 100
# The burst of a new socket whose network has had many messages refused, so that it is
# of no use to reconnect. A page names a few runners and races.
NEWCOMER_BURST = 100.0


class Rates:
    """Refuses what comes too fast, and closes the socket of a flood."""

    def __init__(self, process: Process, network: str, outbox: Outbox) -> None:
        self._process, self._network, self._outbox = process, network, outbox
        self._refused: dict[Bucket, int] = {}
        # The rate of messages.
        self._commands: Bucket | None = None
        # Set after a refusal: nothing is read for a while.
        self.is_too_fast = False

    def limit_commands(self, *named: object) -> None:
        """Count a message and the items of these lists of it; raises `CodedError`."""
        count = 1
        for names in named:
            count += len(names) if isinstance(names, list) else 0
        if self._commands is None:
            # It starts with what the network has left.
            left = self._process.refused_commands.of(self._network).left
            level = max(NEWCOMER_BURST, left)
            self._commands = Bucket(COMMANDS_PER_S, COMMAND_BURST, level)
        detail = "Too many messages at once. Send this one again later."
        try:
            self.limit(self._commands, count, detail)
        except CodedError:
            self.count_refused(count)
            raise

    def count_refused(self, count: int) -> None:
        """Count refused messages, or runners in one, against the network."""
        self._process.refused_commands.of(self._network).drain(count)

    def limit(self, bucket: Bucket, count: int, detail: str) -> None:
        """Count against a rate; raises `CodedError`."""
        wait = bucket.take(count)
        refused = self._refused.get(bucket, 0)
        if not wait:
            # Of a flood, some are accepted after each pause.
            if 0 < refused <= TOO_FAST_LIMIT:
                self._refused[bucket] = refused - 1
            return
        self._refused[bucket] = refused + 1
        if refused >= TOO_FAST_LIMIT:
            self._outbox.close(TOO_FAST)
        else:
            # Without backpressure, what is sent meanwhile would fill the memory.
            self.is_too_fast = self._outbox.writer.has_backpressure
        raise CodedError("rate.limited", detail, after=math.ceil(wait * 1000))
