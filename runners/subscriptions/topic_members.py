"""The sockets that follow a topic, and the items of its runners as sent to them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from runners.live.audience import Audience
from runners.live.encoding.frames import Frames
from runners.live.events import Event, RunnerChanged, StatusChanged
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from runners.snapshots.items import Item, Items, without_fix, without_place
from runners.units.clock import now_ms

# Primary keys of the runners who have blocked the user of a socket.
Blockers = frozenset[int]
NOBODY: Blockers = frozenset()


class Members:
    """The audiences that follow one topic, and its runners.

    All members see the same runners, except for those who have blocked them.
    """

    def __init__(
        self, hub: Hub, race: int | None, blockers: Mapping[TypedOutbox, Blockers]
    ) -> None:
        self.hub = hub
        # The topic's race (a primary key), or None for everybody public.
        self.race = race
        # Blockers of signed-in users, by their sockets.
        self._blockers = blockers
        # Audiences by tick and by the runners who have blocked the members.
        self.audiences: dict[tuple[int, Blockers], Audience] = {}
        # The runners' items as sent to the members, by primary key.
        self.items: Items = {}
        # Counts the runners who have been removed or erased.
        self.removals = 0

    def __contains__(self, outbox: TypedOutbox) -> bool:
        return bool(self._audiences_of(outbox))

    def blockers_of(self, outbox: TypedOutbox) -> Blockers:
        """Return the runners who have blocked the user of a socket."""
        return self._blockers.get(outbox, NOBODY)

    def removed_for(self, outbox: TypedOutbox) -> object:
        """Return a value that changes when a runner is removed for a socket."""
        return self.removals, self.blockers_of(outbox)

    def add(self, outbox: TypedOutbox) -> Audience:
        """Add a socket to the audience of its tick and its user's blockers."""
        blockers = self.blockers_of(outbox)
        audience = self.audiences.get((outbox.tick, blockers))
        if audience is None:
            audience = Audience(self.hub, outbox.tick, self.race)
            self.audiences[outbox.tick, blockers] = audience
            seen = self.items.keys() - blockers
            audience.introduced.update(seen)
            audience.joining = asyncio.create_task(self.hub.subscribe(seen, audience))
        audience.members[outbox] = None
        return audience

    async def change_tick(self, outbox: TypedOutbox) -> None:
        """Move a member to the audience of its new tick, with what is queued for it."""
        audiences = self._audiences_of(outbox)
        before = [each for each in audiences if each.tick != outbox.tick]
        if not before:
            return
        joining = self.add(outbox).joining
        assert joining is not None
        # Until then, this process stays in the groups for the previous audience.
        await asyncio.shield(joining)
        for audience in before:
            if outbox in audience.members:
                audience.hand_over(outbox)
        self._discard_empty()

    def remove(self, outbox: TypedOutbox) -> bool:
        """Remove a socket from its audience; return whether it had one."""
        audiences = self._audiences_of(outbox)
        for audience in audiences:
            del audience.members[outbox]
            outbox.forget_audience(audience)
        self._discard_empty()
        return bool(audiences)

    def _audiences_of(self, outbox: TypedOutbox) -> list[Audience]:
        return [each for each in self.audiences.values() if outbox in each.members]

    def _discard_empty(self) -> None:
        for key, audience in list(self.audiences.items()):
            if not audience.members:
                del self.audiences[key]
                self.hub.unsubscribe(self.items, audience)

    def change_blockers(self, outbox: TypedOutbox, before: Blockers) -> bool:
        """Move a socket to the audience of its new blockers, and send the differences.

        Returns whether it is a member.
        """
        if not self.remove(outbox):
            return False
        now = self.blockers_of(outbox)
        for pk in self.items.keys() & (now - before):
            outbox.forget(pk)
            outbox.send([_changed("removed", self.items[pk])])
        self.add(outbox)
        for pk in self.items.keys() & (before - now):
            outbox.send([_changed("added", self.items[pk])])
        return True

    def erase(self, runner: int) -> None:
        """Discard a runner's positions, here and in the audiences."""
        self.removals += 1
        item = self.items.get(runner)
        if item is not None:
            item = self.items[runner] = without_place(item)
            for audience in self.audiences.values():
                audience.discard_positions(runner)
            self._send_item("changed", runner, item)

    async def update(self, items: Items) -> Collection[int]:
        """Replace the items, notify the members, and return the added runners."""
        old, self.items = self.items, items
        added = items.keys() - old.keys()
        removed = old.keys() - items.keys()
        self.removals += len(removed)
        # Hide runners first, and without awaiting anything.
        for audience in self.audiences.values():
            self.hub.unsubscribe(removed, audience)
            for pk in removed:
                audience.forget(pk)
        for pk in removed:
            self._send_item("removed", pk, old[pk])
        for (_, blockers), audience in list(self.audiences.items()):
            # Join the groups before the members get the items, so that no fix is lost
            # in between.
            await self.hub.subscribe(added - blockers, audience)
            if audience not in self.audiences.values():
                self.hub.unsubscribe(added, audience)
        for pk in added:
            self._send_item("added", pk, items[pk])
        for pk in items.keys() & old.keys():
            if without_fix(items[pk]) != without_fix(old[pk]):
                self._send_item("changed", pk, items[pk])
            state = items[pk]["state"]
            if state and state != old[pk]["state"]:
                status = StatusChanged(pk, items[pk]["code"], state, now_ms())
                self._send(pk, Frames(status))
        for (_, blockers), audience in self.audiences.items():
            audience.introduced.update(added - blockers)
        return added

    def _send_item(self, change: str, runner: int, item: Item) -> None:
        self._send(runner, _changed(change, item))

    def _send(self, runner: int, frames: Frames[Event]) -> None:
        for (_, blockers), audience in self.audiences.items():
            if runner not in blockers:
                audience.send([frames])


def _changed(change: str, item: Item) -> Frames[RunnerChanged[Item]]:
    return Frames(RunnerChanged(change, item, now_ms()))
