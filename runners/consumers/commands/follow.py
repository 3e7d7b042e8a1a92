"""`follow`: subscriptions, their snapshot and backfill."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.conf import settings
from msgspec import UNSET

from runners import database
from runners.consumers.messages import Follow
from runners.consumers.single_runners import (
    follow_limit,
    follow_runners,
    plain,
)
from runners.consumers.typed_dialect import Typed
from runners.live.encoding import typed_dialect
from runners.live.encoding.snapshots import snapshot_frame
from runners.recovery.backfill import Backfill
from runners.rights import access, share_links
from runners.rights.share_links import LinkError, LinkLocked
from runners.snapshots.items import find_races
from runners.subscriptions.topic import Topic, TopicName
from runners.units.clock import now_ms
from runners.units.errors import CodedError


class Shown(NamedTuple):
    """The followed ones of a message's runners and topics; changes when a right ends.

    `removed` holds for each topic what identifies the runners removed so far.
    """

    topics: list[Topic]
    removed: list[object]
    runners: list[int]


async def follow(typed: Typed, command: Follow) -> None:
    session, followed = typed.session, typed.session.followed
    since = command.since
    if since is not None:
        since = session.process.backfiller.complete_before(min(since, now_ms()))
    before = set(followed.runners.values()), set(followed.topics)
    try:
        bodies, backfill = await _start_following(typed, command, since)
    except database.DatabaseUnavailable:
        # A retry has to start from scratch, because runners already followed get no
        # snapshot.
        followed.remove_runners(set(followed.runners.values()) - before[0])
        followed.remove_topics(
            [
                topic_name
                for topic_name in followed.topics
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
        if command.id is not UNSET:
            frame_fields["id"] = command.id
        typed.outbox.send_event(snapshot_frame(body, **frame_fields))
    for part in backfill:
        # All in one write, because events for thousands of runners would exceed the
        # limit.
        if part.late:
            typed.outbox.send(list(part.late.values()))


async def _start_following(
    typed: Typed, command: Follow, since: int | None
) -> tuple[list[bytes], list[Backfill]]:
    """Follow the topics of a message; return its snapshot and its backfill.

    The snapshot is encoded, in parts without the fields of this socket.
    """
    session, followed = typed.session, typed.session.followed
    await _set_tick(typed, command)
    generation = session.process.access_monitor.generation
    joined: list[Topic] = []
    found = await follow_runners(session, command.runners, command)
    topic_names = await _topic_names_of(typed, command)
    by_link: dict[TopicName, int] = {}
    if command.share is not UNSET:
        try:
            shared, by_link = await _open_link(typed, command.share, command.pin)
        except CodedError as error:
            if not (command.runners or command.races or command.public):
                raise
            typed.send_error(error, command)
        else:
            found |= shared
            topic_names += by_link
    for topic_name in topic_names:
        if len(followed) >= settings.SPECTATE_FOLLOW_LIMIT:
            typed.send_error(follow_limit(), command)
            break
        link = by_link.get(topic_name)
        await followed.add_topic(topic_name, session.viewer.user, link)
        session.recheck_if_changed(generation)
        joined.append(session.process.topics.of(topic_name))
    return await read_snapshot(typed, joined, found.values(), since)


async def _set_tick(typed: Typed, command: Follow) -> None:
    session, followed = typed.session, typed.session.followed
    if command.tick is None:
        return
    if typed.outbox.tick == (tick := typed_dialect.tick_of(command.tick)):
        return
    typed.outbox.tick = tick
    for topic_name in followed.topics:
        await session.process.topics.of(topic_name).members.change_tick(typed.outbox)


async def _topic_names_of(typed: Typed, command: Follow) -> list[TopicName]:
    """Return the topics that a message newly follows.

    Sends errors for unknown races.
    """
    session, followed = typed.session, typed.session.followed
    slugs = command.races
    topic_names = [TopicName()] if command.public else []
    requested = list(dict.fromkeys(s for s in slugs if isinstance(s, str)))
    # Look up at most as many as may be followed.
    limit = settings.SPECTATE_FOLLOW_LIMIT
    searched = requested[: limit - len(followed)]
    links = session.viewer.links
    if len(searched) == 1 and not links:
        slug = searched[0]
        races = await session.process.topics.find_race(
            slug, session.process.access_monitor.generation
        )
    elif searched:
        races = await database.read(find_races, searched, links)
    else:
        races = {}
    wrong = [s for s in searched if s not in races]
    wrong = [s for s in slugs if not isinstance(s, str)] + wrong
    for slug in wrong[:limit]:
        error = CodedError(
            "race.unknown",
            "There is no such race, or it is not shown to you.",
            race=plain(slug),
        )
        typed.send_error(error, command)
    if len(requested) > len(searched):
        typed.send_error(follow_limit(), command)
    topic_names += [TopicName(races[slug], slug) for slug in searched if slug in races]
    return [
        topic_name for topic_name in topic_names if topic_name not in followed.topics
    ]


async def _open_link(
    typed: Typed, token: str, pin: str
) -> tuple[dict[str, int], dict[TopicName, int]]:
    """Follow the runners of a share link; return them, and its race to follow."""
    session, followed = typed.session, typed.session.followed
    generation = session.process.access_monitor.generation
    try:
        link = await share_links.open_link(token, pin)
    except LinkLocked:
        raise
    except LinkError:
        await session.process.wrong_secrets.delay(session.network)
        raise
    if link.pk not in session.viewer.links:
        session.count_socket("link", link.pk, settings.SPECTATE_SOCKETS_A_VIEWER)
    links = tuple({*session.viewer.links, link.pk})
    session.viewer = replace(session.viewer, links=links)
    session.recheck_at = min(session.recheck_at, access.earliest([link.expires_at]))
    generation = min(generation, session.process.access_monitor.generation)
    grants = await database.read(access.linked, session.viewer, link.pk)
    new = [grant for grant in grants if grant.code not in followed.runners]
    room = max(0, settings.SPECTATE_FOLLOW_LIMIT - len(followed))
    await session.follow_granted(new[:room], generation)
    found = {grant.code: grant.pk for grant in new[:room]}
    if link.race is None:
        return found, {}
    race = TopicName(link.race.pk, link.race.slug)
    return found, {} if race in followed.topics else {race: link.pk}


async def read_snapshot(
    typed: Typed,
    topics: Sequence[Topic],
    runners: Collection[int],
    since: int | None,
) -> tuple[list[bytes], list[Backfill]]:
    """Return the snapshot and the backfill of what has just been followed.

    A right may end during the reads, and the client is notified at once: they are
    repeated then, so that the snapshot does not bring a runner back.
    """
    session = typed.session
    while True:
        shown = _shown_of(typed, topics, runners)
        read_at = now_ms()
        bodies = []
        backfill = []
        for topic in shown.topics:
            bodies += await topic.snapshots.read(typed.outbox)
            if since is not None:
                backfill.append(await topic.snapshots.backfill(since, typed.outbox))
        if shown.runners or not bodies:
            begins = session.followed.begins_of(shown.runners)
            bodies += await session.process.runner_reads.snapshot(begins)
            if since is not None:
                backfill.append(
                    await session.process.runner_reads.backfill(begins, since)
                )
        if _shown_of(typed, topics, runners) == shown:
            if shown.runners:
                session.backfill_later(shown.runners, read_at)
            return bodies, backfill


def _shown_of(typed: Typed, topics: Sequence[Topic], runners: Collection[int]) -> Shown:
    """Return which of these topics and runners the socket still follows."""
    followed = typed.session.followed
    single = set(followed.runners.values())
    kept = [topic for topic in topics if topic.topic_name in followed.topics]
    return Shown(
        kept,
        [topic.members.removed_for(typed.outbox) for topic in kept],
        [pk for pk in runners if pk in single],
    )
