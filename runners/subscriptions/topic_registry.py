"""The followed topics of a process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from runners import database
from runners.database import RecentReads
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from runners.rights.access import blockers_of
from runners.snapshots.items import find_races
from runners.subscriptions.topic import Topic, TopicName
from runners.subscriptions.topic_members import NOBODY, Blockers

# How long the result of a race lookup is reused.
FOUND_AGE_S = 1.0


class TopicRegistry:
    """The topics of one event loop, each kept while it has followers."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._topics: dict[TopicName, Topic] = {}
        self._users: dict[TopicName, set[TypedOutbox]] = {}
        # The runners who have blocked a signed-in user, by the user's socket.
        self._blockers: dict[TypedOutbox, Blockers] = {}
        self._user_of: dict[TypedOutbox, int] = {}
        self._blocks_changed = 0
        self._found: RecentReads[tuple[str, int], dict[str, int]]
        self._found = RecentReads(FOUND_AGE_S)

    async def find_race(self, slug: str, generation: int) -> dict[str, int]:
        """Map the slug of a public race to its primary key; empty if there is none.

        Concurrent calls share the query, for at most one second and while no right has
        changed. Raises `DatabaseUnavailable`.
        """
        return await self._found.read((slug, generation), partial(find_races, [slug]))

    async def join(
        self, topic_name: TopicName, outbox: TypedOutbox, user: int | None = None
    ) -> None:
        """Let a socket follow a topic; raises `DatabaseUnavailable`, then it does not.

        `user` is signed in on the socket: runners who have blocked them are left out.
        """
        if user is not None and outbox not in self._blockers:
            await self._load_blockers(outbox, user)
        users = self._users.setdefault(topic_name, set())
        users.add(outbox)
        try:
            await self.of(topic_name).join(outbox)
        except BaseException:
            self.leave((topic_name,), outbox)
            raise

    def of(self, topic_name: TopicName) -> Topic:
        """Return a topic, made if it is not followed yet."""
        topic = self._topics.get(topic_name)
        if topic is None:
            topic = Topic(topic_name, self.hub, self._blockers)
            self._topics[topic_name] = topic
        return topic

    async def _load_blockers(self, outbox: TypedOutbox, user: int) -> None:
        while True:
            changes = self._blocks_changed
            blockers = (await database.read(blockers_of, [user])).get(user, NOBODY)
            if changes == self._blocks_changed:
                # From now on, `refresh_blockers` updates this socket.
                self._blockers[outbox], self._user_of[outbox] = blockers, user
                return

    async def refresh_blockers(self, runners: set[int] | None = None) -> None:
        """Apply new and removed blocks by these runners, or by all."""
        # Sockets whose blockers are being read start again. Sockets that join from here
        # on read the committed blocks.
        self._blocks_changed += 1
        sockets = dict(self._user_of)
        users = set(sockets.values())
        now = await database.read_rights(blockers_of, users, runners) if users else {}
        for outbox, user in sockets.items():
            if (before := self._blockers.get(outbox)) is None:
                continue  # The socket has left the topics meanwhile.
            kept = NOBODY if runners is None else before - runners
            after = kept | now.get(user, NOBODY)
            if after != before:
                self._blockers[outbox] = after
                for topic in self._topics.values():
                    topic.change_blockers(outbox, before)

    @property
    def follows(self) -> int:
        """Count the pairs of a socket and a topic."""
        return sum(map(len, self._users.values()))

    async def refresh(self, runners: set[int]) -> None:
        """Refresh all topics, and those with these runners completely."""
        for topic in list(self._topics.values()):
            if not runners.isdisjoint(topic.members.items):
                topic.invalidate()
            await topic.refresh()

    def erase(self, runner: int) -> None:
        """Discard a runner's positions in all topics."""
        for topic in self._topics.values():
            topic.erase(runner)

    def leave(self, topic_names: Iterable[TopicName], outbox: TypedOutbox) -> None:
        """Remove a socket from topics."""
        for topic_name in topic_names:
            users = self._users.get(topic_name, set())
            users.discard(outbox)
            topic = self._topics.get(topic_name)
            if topic is not None:
                topic.leave(outbox)
                if not users:
                    topic.close()
                    del self._topics[topic_name]
            if not users:
                self._users.pop(topic_name, None)
        if outbox in self._user_of and not any(
            outbox in users for users in self._users.values()
        ):
            self._blockers.pop(outbox, None)
            self._user_of.pop(outbox, None)
