"""The consumer of the typed dialect, `spectate.v1`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from django.conf import settings

from runners import database
from runners.consumers.cheers import Cheers
from runners.consumers.errors import CommandError
from runners.consumers.message_fields import (
    ID_LIMIT,
    fix_of,
    followed_of,
    is_id,
    since_of,
)
from runners.consumers.socket import (
    FOLLOW_LIMIT,
    Send,
    SocketConsumer,
    plain,
)
from runners.consumers.sos import SosCommand
from runners.live.close_codes import NOT_SIGNED_IN, TOO_FAST
from runners.live.encoding import v1
from runners.live.encoding.ids import code_of
from runners.live.encoding.snapshots import snapshot_frame
from runners.live.outbox import TypedOutbox
from runners.positions.pipeline import Receipt
from runners.recovery.backfill import COMMIT_DELAY_S, Backfill
from runners.rights import access, share_links
from runners.rights.share_links import LinkError, LinkLocked
from runners.serving.process import Process
from runners.snapshots import items as snapshots
from runners.subscriptions.topic import Topic, TopicName
from runners.subscriptions.topic_registry import TopicRegistry
from runners.units.clock import now_ms

# Limit of the fixes in one `publish`.
PUBLISH_LIMIT = 500


class Shown(NamedTuple):
    """The followed ones of a message's runners and topics; changes when a right ends.

    `removed` holds for each topic what identifies the runners removed so far.
    """

    topics: list[Topic]
    removed: list[object]
    runners: list[int]


class TypedConsumer(SocketConsumer):
    """Speaks `spectate.v1`."""

    subprotocol = v1.SUBPROTOCOL
    dialect = "v1"
    outbox: TypedOutbox

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.topics: TopicRegistry = process.topics
        # The followed topics, each with the share link that gives the right to it, or
        # None.
        self.topic_names: dict[TopicName, int | None] = {}
        self.cheers = Cheers(self)
        self.commands: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "auth": self.auth,
            "follow": self.follow,
            "unfollow": self.unfollow,
            "publish": self.publish,
            "cheer": self.cheers.send,
            "sos": SosCommand(self).handle,
            "ping": self.ping,
        }

    def make_outbox(self) -> TypedOutbox:
        return TypedOutbox(self.writer, self.hub)

    async def connect(self, send: Send) -> None:
        await super().connect(send)
        self.welcome()

    def disconnect(self) -> None:
        super().disconnect()
        self.cheers.stop()
        self.topics.leave(self.topic_names, self.outbox)
        self.topic_names.clear()

    async def handle(self, command: dict[str, Any]) -> None:
        if command.get("type") != "publish":
            self.limit_commands(command.get("runners"), command.get("races"))
        if not is_id(command.get("id")):
            raise CommandError(
                "message.invalid", f"`id` is a JSON scalar of {ID_LIMIT} bytes at most."
            )
        type_ = command.get("type")
        run = self.commands.get(type_) if isinstance(type_, str) else None
        if run is None:
            raise CommandError(
                "message.unknown", f"`type` is one of {', '.join(self.commands)}."
            )
        await run(command)

    def answer(self, type_: str, command: Any, **fields: Any) -> None:
        """Send a reply with the message's `id`, if it has one."""
        if isinstance(command, dict) and is_id(command.get("id")):
            fields |= {"id": command["id"]} if "id" in command else {}
        self.outbox.send_event(v1.message_frame(type_, **fields))

    def send_error(self, error: CommandError, command: Any = None) -> None:
        self.answer(
            "error", command, code=error.code, detail=error.detail, **error.fields
        )

    def welcome(self, command: Any = None) -> None:
        self.answer(
            "welcome",
            command,
            time=now_ms(),
            runner=None if self.publisher is None else self.publisher.code,
            heartbeat=v1.HEARTBEAT_S,
        )

    async def authenticate(self, token: str) -> None:
        await super().authenticate(token)
        if self.publisher is not None:
            self.cheers.listen(self.publisher.pk)

    # -- messages

    async def auth(self, command: dict[str, Any]) -> None:
        token = command.get("token")
        if not isinstance(token, str):
            raise CommandError("message.invalid", "`token` must be text.")
        try:
            await self.authenticate(token)
        except CommandError as error:
            self.send_error(error, command)
            self.outbox.close(
                TOO_FAST if error.code == "socket.limit" else NOT_SIGNED_IN
            )
        else:
            self.welcome(command)

    async def follow(self, command: dict[str, Any]) -> None:
        since = since_of(command)
        if since is not None:
            since = self.process.backfiller.complete_before(since)
        before = set(self.following.values()), set(self.topic_names)
        try:
            bodies, backfill = await self.start_following(command, since)
        except database.DatabaseUnavailable:
            # A retry has to start from scratch, because runners already followed get no
            # snapshot.
            self.unfollow_runners(set(self.following.values()) - before[0])
            self.leave_topics(
                [
                    topic_name
                    for topic_name in self.topic_names
                    if topic_name not in before[1]
                ]
            )
            raise
        truncated = [code for part in backfill for code in part.truncated.values()]
        for remaining, body in zip(range(len(bodies) - 1, -1, -1), bodies, strict=True):
            frame_fields: dict[str, Any] = {
                "time": now_ms(),
                "truncated": truncated,
                "more": remaining > 0,
            }
            if "id" in command:
                frame_fields["id"] = command["id"]
            self.outbox.send_event(snapshot_frame(body, **frame_fields))
        for part in backfill:
            # All in one write, because events for thousands of runners would exceed the
            # limit.
            if part.late:
                self.outbox.send(list(part.late.values()))

    async def start_following(
        self, command: dict[str, Any], since: int | None
    ) -> tuple[list[bytes], list[Backfill]]:
        """Follow the topics of a message; return its snapshot and its backfill.

        The snapshot is encoded, in parts without the fields of this socket.
        """
        runners, races, public = followed_of(command)
        await self.set_tick(command)
        generation = self.monitor.generation
        joined: list[Topic] = []
        found = await self.follow_codes(runners, command)
        topic_names = await self.topic_names_of(races, public, command)
        by_link: dict[TopicName, int] = {}
        if "share" in command:
            try:
                shared, by_link = await self.open_link(command)
            except CommandError as error:
                if not (runners or races or public):
                    raise
                self.send_error(error, command)
            else:
                found |= shared
                topic_names += by_link
        for topic_name in topic_names:
            if self.count_follows() >= FOLLOW_LIMIT:
                self.send_error(
                    CommandError(
                        "follow.limit",
                        f"A socket may follow at most "
                        f"{FOLLOW_LIMIT:,}. Unfollow some first.",
                    ),
                    command,
                )
                break
            await self.topics.join(topic_name, self.outbox, self.viewer.user)
            self.topic_names[topic_name] = by_link.get(topic_name)
            self.recheck_if_changed(generation)
            joined.append(self.topics.of(topic_name))
        return await self.read_snapshot(joined, found.values(), since)

    async def read_snapshot(
        self, topics: Sequence[Topic], runners: Collection[int], since: int | None
    ) -> tuple[list[bytes], list[Backfill]]:
        """Return the snapshot and the backfill of what has just been followed.

        A right may end during the reads, and the client is notified at once: they are
        repeated then, so that the snapshot does not bring a runner back.
        """
        while True:
            shown = self.shown_of(topics, runners)
            read_at = now_ms()
            bodies = []
            backfill = []
            for topic in shown.topics:
                bodies += await topic.snapshot(self.outbox)
                if since is not None:
                    backfill.append(await topic.backfill(since, self.outbox))
            if shown.runners or not bodies:
                bodies += await self.runner_reads.snapshot(shown.runners)
                if since is not None:
                    backfill.append(
                        await self.runner_reads.backfill(shown.runners, since)
                    )
            if self.shown_of(topics, runners) == shown:
                if shown.runners:
                    self.backfill_later(shown.runners, read_at)
                return bodies, backfill

    def shown_of(self, topics: Sequence[Topic], runners: Collection[int]) -> Shown:
        """Return which of these topics and runners the socket still follows."""
        followed = set(self.following.values())
        kept = [topic for topic in topics if topic.topic_name in self.topic_names]
        return Shown(
            kept,
            [topic.removed_for(self.outbox) for topic in kept],
            [pk for pk in runners if pk in followed],
        )

    def backfill_later(self, runners: Collection[int], read_at: int) -> None:
        """Send positions accepted before the snapshot and committed after it."""

        async def read_and_send() -> None:
            await asyncio.sleep(COMMIT_DELAY_S)
            await self.pipeline.recorder.flushed()
            try:
                backfill = await self.runner_reads.stored_after(runners, read_at)
            except database.DatabaseUnavailable:
                return self.backfill_later(runners, read_at)
            # Some runners may have been unfollowed or hidden meanwhile.
            followed = set(self.following.values())
            late = backfill.late.items()
            self.outbox.send([frames for pk, frames in late if pk in followed])
            for position in backfill.newest_positions(self.hub):
                if position.event.runner in followed:
                    self.outbox.receive(position)

        self.start(read_and_send())

    async def resume_private(self, since: int) -> None:
        await super().resume_private(since)
        self.backfill_later(set(self.personal), since)

    async def unfollow(self, command: dict[str, Any]) -> None:
        runners, races, public = followed_of(command)
        codes = {code_of(wire_id) for wire_id in runners}
        ended = self.unfollow_runners(
            {pk for code, pk in self.following.items() if code in codes}
        )
        topic_names = [
            topic_name
            for topic_name in self.topic_names
            if (topic_name.slug in races if topic_name.race is not None else public)
        ]
        self.leave_topics(topic_names)
        self.answer(
            "unfollowed",
            command,
            runners=ended,
            races=[
                topic_name.slug
                for topic_name in topic_names
                if topic_name.race is not None
            ],
            public=any(topic_name.race is None for topic_name in topic_names),
        )

    def leave_topics(self, topic_names: Collection[TopicName]) -> None:
        """Stop following topics."""
        for topic_name in topic_names:
            del self.topic_names[topic_name]
        self.topics.leave(topic_names, self.outbox)

    async def publish(self, command: dict[str, Any]) -> None:
        if self.publisher is None:
            raise CommandError("token.required", "Publishing needs a runner's token.")
        items = command.get("fixes")
        if not isinstance(items, list) or not 1 <= len(items) <= PUBLISH_LIMIT:
            raise CommandError(
                "publish.invalid", f"`fixes` is a list of 1 to {PUBLISH_LIMIT} fixes."
            )
        self.limit_fixes(len(items))
        receipt = await self.pipeline.accept(
            self.publisher, [fix_of(item) for item in items], source="websocket"
        )
        self.record_refused([(code, detail) for _, code, detail in receipt.rejected])
        if receipt.stored is None:
            self.send_store_unavailable(command)
        else:
            receipt.stored.add_done_callback(
                lambda stored: self.acknowledge(command, receipt, stored.result())
            )

    def acknowledge(self, command: dict[str, Any], receipt: Receipt, lost: int) -> None:
        if lost:
            self.send_error(
                CommandError("runner.unknown", "The runner does not exist any more."),
                command,
            )
            return
        self.answer(
            "ack",
            command,
            stored=receipt.accepted,
            rejected=[[index, code] for index, code, _ in receipt.rejected],
        )

    async def ping(self, command: dict[str, Any]) -> None:
        try:
            self.outbox.send_event(v1.pong_frame(command))
        except orjson.JSONEncodeError:
            raise CommandError(
                "message.invalid", "The message is nested too deeply to be sent back."
            ) from None

    # -- subscriptions

    async def open_link(
        self, command: dict[str, Any]
    ) -> tuple[dict[str, int], dict[TopicName, int]]:
        """Follow the runners of a share link; return them, and its race to follow."""
        plain, pin = command["share"], command.get("pin", "")
        if not isinstance(plain, str) or not isinstance(pin, str):
            raise CommandError("message.invalid", "`share` and `pin` are text.")
        generation = self.monitor.generation
        try:
            link = await share_links.open_link(plain, pin)
        except LinkLocked as error:
            after = 1000 * error.after
            raise CommandError(error.code, error.detail, after=after) from None
        except LinkError as error:
            await self.monitor.delay_failure(self.address)
            raise CommandError(error.code, error.detail) from None
        if link.pk not in self.viewer.links:
            self.count_socket("link", link.pk, settings.SPECTATE_SOCKETS_A_VIEWER)
        links = tuple({*self.viewer.links, link.pk})
        self.viewer = replace(self.viewer, links=links)
        self.recheck_at = min(self.recheck_at, access.earliest([link.expires_at]))
        generation = min(generation, self.monitor.generation)
        grants = await database.read(access.linked, self.viewer, link.pk)
        new = [grant for grant in grants if grant.code not in self.following]
        room = max(0, FOLLOW_LIMIT - self.count_follows())
        await self.follow_granted(new[:room], generation)
        found = {grant.code: grant.pk for grant in new[:room]}
        if link.race is None:
            return found, {}
        race = TopicName(link.race.pk, link.race.slug)
        return found, {} if race in self.topic_names else {race: link.pk}

    @property
    def races(self) -> frozenset[int]:
        return frozenset(w.race for w in self.topic_names if w.race is not None)

    def drop_race(self, race: int, reason: str) -> None:
        for topic_name in [w for w in self.topic_names if w.race == race]:
            self.leave_topics((topic_name,))
            self.send_access(reason, race=topic_name.slug)

    def drop_link(self, link: int) -> None:
        for topic_name in [w for w, by in self.topic_names.items() if by == link]:
            self.leave_topics((topic_name,))
            self.send_access("revoked", race=topic_name.slug)

    def send_access(self, reason: str, **what: str) -> None:
        self.outbox.send_event(
            v1.message_frame(
                "event", kind="access", time=now_ms(), reason=reason, **what
            )
        )

    def end(self, code: str, detail: str, close_code: int) -> None:
        self.topics.leave(self.topic_names, self.outbox)
        self.topic_names.clear()
        super().end(code, detail, close_code)

    async def set_tick(self, command: dict[str, Any]) -> None:
        wished = command.get("tick")
        if wished is None:
            return
        if type(wished) not in (int, float) or not wished >= 0:
            raise CommandError("message.invalid", "`tick` is in milliseconds.")
        if self.outbox.tick == (tick := v1.tick_of(wished)):
            return
        self.outbox.tick = tick
        for topic_name in self.topic_names:
            await self.topics.of(topic_name).change_tick(self.outbox)

    async def topic_names_of(
        self, slugs: list[Any], public: bool, command: dict[str, Any]
    ) -> list[TopicName]:
        """Return the topics that a message newly follows.

        Sends errors for unknown races.
        """
        topic_names = [TopicName()] if public else []
        requested = list(dict.fromkeys(s for s in slugs if isinstance(s, str)))
        # Look up at most as many as may be followed.
        searched = requested[: FOLLOW_LIMIT - self.count_follows()]
        links = self.viewer.links
        if len(searched) == 1 and not links:
            slug = searched[0]
            races = await self.topics.find_race(slug, self.monitor.generation)
        elif searched:
            races = await database.read(snapshots.find_races, searched, links)
        else:
            races = {}
        wrong = [s for s in searched if s not in races]
        wrong = [s for s in slugs if not isinstance(s, str)] + wrong
        for slug in wrong[:FOLLOW_LIMIT]:
            error = CommandError(
                "race.unknown",
                "There is no such race, or it is not shown to you.",
                race=plain(slug),
            )
            self.send_error(error, command)
        if len(requested) > len(searched):
            self.send_error(
                CommandError(
                    "follow.limit",
                    f"A socket may follow at most "
                    f"{FOLLOW_LIMIT:,}. Unfollow some first.",
                ),
                command,
            )
        topic_names += [
            TopicName(races[slug], slug) for slug in searched if slug in races
        ]
        return [
            topic_name
            for topic_name in topic_names
            if topic_name not in self.topic_names
        ]

    def count_follows(self) -> int:
        return len(self.following) + len(self.topic_names)
