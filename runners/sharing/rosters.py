"""The rosters of a process: one for each whole that somebody follows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from runners import store
from runners.live.outbox import TypedOutbox
from runners.live.relay import Relay, get_relay
from runners.sharing.roster import NOBODY, Blockers, Roster, Whole
from runners.sharing.snapshots import find_races
from runners.sharing.viewing import blockers_of

# For how long those who come are told what a look at the database found. Seconds.
FOUND_AGE = 1.0
FOUND_MOST = 100


class Rosters:
    """The rosters of one event loop, each kept while somebody follows."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._rosters: dict[Whole, Roster] = {}
        self._users: dict[Whole, set[TypedOutbox]] = {}
        # Of the sockets of signed-in users: who has blocked the user.
        self._blockers: dict[TypedOutbox, Blockers] = {}
        self._user_of: dict[TypedOutbox, int] = {}
        self._blocks_changed = 0
        self._found: dict[tuple[str, int], tuple[asyncio.Task[dict[str, int]], float]]
        self._found = {}

    async def find_race(self, slug: str, generation: int) -> dict[str, int]:
        """Return the primary key of a race that anybody sees, by its slug.

        A crowd that comes at once shares the look for as long as no right has changed,
        a second at most. Raises `StoreUnavailable`.
        """
        now = self.relay.loop.time()
        key = slug, generation
        task, read_at = self._found.get(key, (None, 0.0))
        if task is None or now - read_at > FOUND_AGE:
            if len(self._found) >= FOUND_MOST:
                self._found.clear()
            task = asyncio.create_task(store.read(find_races, [slug]))
            self._found[key] = task, now
        return await asyncio.shield(task)

    async def join(
        self, whole: Whole, outbox: TypedOutbox, user: int | None = None
    ) -> None:
        """Let a socket follow a whole; raises `StoreUnavailable`, then it does not.

        `user` is who is signed in on it: those who have blocked them are left out.
        """
        if user is not None and outbox not in self._blockers:
            await self._learn_blockers(outbox, user)
        users = self._users.setdefault(whole, set())
        users.add(outbox)
        try:
            await self.of(whole).join(outbox)
        except BaseException:
            self.leave((whole,), outbox)
            raise

    def of(self, whole: Whole) -> Roster:
        """Return the roster of a whole that is followed."""
        roster = self._rosters.get(whole)
        if roster is None:
            roster = Roster(whole, self.relay, self._blockers)
            self._rosters[whole] = roster
        return roster

    async def _learn_blockers(self, outbox: TypedOutbox, user: int) -> None:
        while True:
            changes = self._blocks_changed
            blockers = (await store.read(blockers_of, [user])).get(user, NOBODY)
            if changes == self._blocks_changed:
                # From here on `change_blocks` knows of this socket.
                self._blockers[outbox], self._user_of[outbox] = blockers, user
                return

    async def look_for_blocks(self, runners: set[int] | None = None) -> None:
        """Act on whom these runners, or any, have blocked of the users of sockets."""
        users = set(self._user_of.values())
        now = await store.read_rights(blockers_of, users, runners) if users else {}
        self._blocks_changed += 1
        for outbox, user in list(self._user_of.items()):
            before = self._blockers[outbox]
            kept = NOBODY if runners is None else before - runners
            after = kept | now.get(user, NOBODY)
            if after != before:
                self._blockers[outbox] = after
                for roster in self._rosters.values():
                    roster.change_blockers(outbox, before)

    @property
    def follows(self) -> int:
        """Count the pairs of a socket and a whole that it follows."""
        return sum(map(len, self._users.values()))

    async def look_now(self, runners: set[int]) -> None:
        """See at once who has come and gone, also of these runners."""
        for roster in list(self._rosters.values()):
            if not runners.isdisjoint(roster.items):
                roster.doubt()
            await roster.look()

    def erase(self, runner: int) -> None:
        """Forget where a runner was."""
        for roster in self._rosters.values():
            roster.erase(runner)

    def leave(self, wholes: Iterable[Whole], outbox: TypedOutbox) -> None:
        """Let a socket follow wholes no longer."""
        for whole in wholes:
            users = self._users.get(whole, set())
            users.discard(outbox)
            roster = self._rosters.get(whole)
            if roster is not None:
                roster.leave(outbox)
                if not users:
                    roster.close()
                    del self._rosters[whole]
            if not users:
                self._users.pop(whole, None)
        if not any(outbox in users for users in self._users.values()):
            self._blockers.pop(outbox, None)
            self._user_of.pop(outbox, None)


_rosters: WeakKeyDictionary[asyncio.AbstractEventLoop, Rosters] = WeakKeyDictionary()


def get_rosters() -> Rosters:
    """Return the rosters of the running event loop."""
    loop = asyncio.get_running_loop()
    rosters = _rosters.get(loop)
    if rosters is None:
        rosters = _rosters[loop] = Rosters(get_relay())
    return rosters
