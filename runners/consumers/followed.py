"""The runners and topics that one socket follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from runners.live.outbox import Outbox, TypedOutbox
from runners.rights.access import Grant
from runners.serving.process import Process
from runners.subscriptions.topic import TopicName
from runners.units.clock import now_ms


class Followed:
    """What a socket follows, in the order in which it was added."""

    __slots__ = (
        "personal",
        "runners",
        "topics",
        "withheld_since",
        "withholding",
        "_outbox",
        "_process",
    )

    def __init__(self, process: Process, outbox: Outbox) -> None:
        # Single runners: primary keys by code.
        self.runners: dict[str, int] = {}
        # The topics, each with the share link that gives the right to it, or None.
        self.topics: dict[TopicName, int | None] = {}
        # Followed runners who are not public. They are withheld while rights cannot be
        # read.
        self.personal: set[int] = set()
        self.withholding = False
        self.withheld_since = 0
        self._process = process
        self._outbox = outbox

    def __len__(self) -> int:
        return len(self.runners) + len(self.topics)

    @property
    def races(self) -> frozenset[int]:
        """Return the primary keys of the followed races."""
        return frozenset(each.race for each in self.topics if each.race is not None)

    async def add_runners(self, grants: Sequence[Grant]) -> None:
        """Follow runners that the viewer may see."""
        for grant in grants:
            self.runners[grant.code] = grant.pk
            self._outbox.show_from(grant.pk, grant.begin)
            if not grant.anybody:
                self.personal.add(grant.pk)
        await self._process.hub.subscribe([grant.pk for grant in grants], self._outbox)
        if self._process.access_monitor.withholding:
            self.withhold_private()

    def remove_runners(self, runners: Collection[int]) -> list[str]:
        """Stop following runners; return their codes."""
        codes = [code for code, pk in self.runners.items() if pk in runners]
        for code in codes:
            pk = self.runners.pop(code)
            self.personal.discard(pk)
            self._process.hub.unsubscribe((pk,), self._outbox)
            self._outbox.forget(pk)
            del self._outbox.begins[pk]
        return codes

    def begins_of(self, runners: Iterable[int]) -> dict[int, int]:
        """Map the followed ones to when they are shown from, in milliseconds."""
        begins = self._outbox.begins
        return {pk: begins[pk] for pk in runners if pk in begins}

    async def add_topic(
        self, topic_name: TopicName, user: int | None, link: int | None
    ) -> None:
        """Follow a topic; raises `DatabaseUnavailable`, and then does not."""
        assert isinstance(self._outbox, TypedOutbox)
        await self._process.topics.join(topic_name, self._outbox, user)
        self.topics[topic_name] = link

    def remove_topics(self, topic_names: Iterable[TopicName]) -> None:
        """Stop following topics."""
        left = list(topic_names)
        for topic_name in left:
            del self.topics[topic_name]
        if isinstance(self._outbox, TypedOutbox):
            self._process.topics.leave(left, self._outbox)

    def apply_grants(self, grants: Iterable[Grant]) -> None:
        """Record who of the followed runners is public now, and shown from when on."""
        for grant in grants:
            if grant.code in self.runners:
                self._outbox.show_from(grant.pk, grant.begin)
            if grant.anybody:
                self.personal.discard(grant.pk)
            elif grant.code in self.runners:
                self.personal.add(grant.pk)

    def withhold_private(self) -> None:
        """Stop sending runners who are not visible to everybody."""
        if not self.withholding:
            self.withheld_since = now_ms()
        self.withholding = True
        self._process.hub.unsubscribe(self.personal, self._outbox)
        for pk in self.personal:
            self._outbox.forget(pk)

    async def resume_private(self) -> None:
        """Follow the runners again who were withheld while rights could not be read."""
        held_back = self.personal & set(self.runners.values())
        await self._process.hub.subscribe(held_back, self._outbox)

    def forget(self, runner: int) -> None:
        """Discard what is queued of a runner who erased their positions."""
        if runner in self.runners.values():
            self._outbox.forget(runner)

    def clear(self) -> None:
        """End all subscriptions."""
        hub = self._process.hub
        hub.unsubscribe({*self.runners.values(), *self.personal}, self._outbox)
        self.runners.clear()
        self._outbox.begins.clear()
        self.remove_topics(list(self.topics))
