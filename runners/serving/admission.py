"""Whether this process takes new sockets: not while it leaves or is overloaded."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from weakref import WeakKeyDictionary

from django.conf import settings

from runners.live.close_codes import OVERLOADED, RECONNECT
from runners.live.hub import Hub, get_hub

# Between looks at the event loop.
STEP_S = 0.1
# The lag shown is the longest of late: what is left of it after each step. The most
# that is kept, in seconds, is forgotten down to one in 8.
DECAY, MOST = 0.97, 10.0
# How long the lag must have been over its limit. A crowd that comes at once is let in:
# it costs seconds, once.
PATIENCE_S = 5.0
# How many times its limit the lag is before reports of phones are refused too.
SWAMPED = 5
# Descriptors kept for files, the database, Redis and pages.
RESERVE = 200


class Admission:
    """Decides for each socket that knocks, in one event loop.

    The lag is how late the loop is, or how long after its tick a frame is written,
    whichever is more: a loop that only writes is never late for anything else.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.leaving = False
        # Sockets turned away, by reason.
        self.refused: Counter[str] = Counter()
        self.lag = 0.0
        self.socket_limit = settings.SPECTATE_SOCKETS or (
            resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVE
        )
        self._calm_at = hub.loop.time()
        self._task = asyncio.create_task(self._watch())

    @property
    def overloaded(self) -> bool:
        """Tell whether the lag has been over its limit for a while."""
        return self.hub.loop.time() - self._calm_at > PATIENCE_S

    @property
    def swamped(self) -> bool:
        """Tell whether not even a phone's report is taken.

        Phones come last: some keep nothing that is refused, and taking a fix in costs
        little beside showing it to thousands.
        """
        limit = SWAMPED * settings.SPECTATE_LAG_LIMIT / 1000
        return self.overloaded and self.lag > limit

    def refusal(self) -> int | None:
        """Return the close code that a new socket gets; None if it is welcome."""
        if self.leaving:
            reason, code = "leaving", RECONNECT
        elif self.overloaded:
            reason, code = "lag", OVERLOADED
        elif len(self.hub.sockets) >= self.socket_limit:
            reason, code = "sockets", OVERLOADED
        else:
            return None
        self.refused[reason] += 1
        return code

    async def _watch(self) -> None:
        loop = self.hub.loop
        while True:
            due = loop.time() + STEP_S
            await asyncio.sleep(STEP_S)
            self.note(max(loop.time() - due, self.hub.pop_lateness()))

    def note(self, late: float) -> None:
        """Note how late the process is now. Seconds."""
        self.lag = min(max(late, self.lag * DECAY), MOST)
        if self.lag * 1000 < settings.SPECTATE_LAG_LIMIT:
            self._calm_at = self.hub.loop.time()

    async def close(self) -> None:
        """Stop watching the loop."""
        self._task.cancel()
        await asyncio.wait([self._task])
        _admissions.pop(self.hub.loop, None)


_admissions: WeakKeyDictionary[asyncio.AbstractEventLoop, Admission] = (
    WeakKeyDictionary()
)


def get_admission() -> Admission:
    """Return the admission of the running event loop, started at the first call."""
    loop = asyncio.get_running_loop()
    admission = _admissions.get(loop)
    if admission is None:
        admission = _admissions[loop] = Admission(get_hub())
    return admission
