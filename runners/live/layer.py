"""Channel layers: one for a single process, and one for several that use Redis."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer
from channels_redis.pubsub import (
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from redis.exceptions import RedisError

from runners.live.events import LayerEvent, from_values, to_values

# A message of the channel layer. Channels' own methods require a dict.
Message = Mapping[str, Any] | LayerEvent | Sequence[Any]


class Layer(Protocol):
    """The part of a channel layer that the hub and the pipeline use."""

    dropped: int
    # Whether all groups are in this process, so that a hub may skip the layer.
    is_local: bool

    async def new_channel(self) -> str: ...
    async def listen(
        self, channel: str, receive: Callable[[LayerEvent], None]
    ) -> None: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send_many(
        self, events: Iterable[tuple[str, LayerEvent]]
    ) -> None: ...
    def shard_groups(self, prefix: str) -> list[str]: ...
    def connections(self) -> object: ...


class LocalLayer(BaseChannelLayer):  # type: ignore[misc]
    """A channel layer for one process: passes events by reference, at most once.

    Follows Channels' layer specification, with bounded queues. It copies nothing and
    expires nothing: a member leaves its groups, or is removed by `flush`.
    """

    extensions: ClassVar = ["groups", "flush"]
    is_local = True

    def __init__(self, capacity: int = 100_000) -> None:
        super().__init__(capacity=capacity)
        self.queues: dict[str, asyncio.Queue[Message]] = {}
        self.groups: dict[str, dict[str, None]] = {}
        # Channels whose events are passed on by a call, without a queue.
        self.listeners: dict[str, Callable[[Any], None]] = {}
        # Events dropped because a channel of the group was full, as specified by
        # Channels.
        self.dropped = 0

    async def new_channel(self, prefix: str = "specific") -> str:
        return f"{prefix}.local!{uuid.uuid4().hex}"

    def _queue(self, channel: str) -> asyncio.Queue[Message]:
        queue = self.queues.get(channel)
        if queue is None:
            queue = self.queues[channel] = asyncio.Queue(self.capacity)
        return queue

    async def send(self, channel: str, message: Message) -> None:
        """Put a message on a channel; raises `ChannelFull`."""
        if not isinstance(message, dict):
            raise TypeError("A message is a dict.")
        self.require_valid_channel_name(channel)
        try:
            self._queue(channel).put_nowait(message)
        except asyncio.QueueFull:
            raise ChannelFull(channel) from None

    async def receive(self, channel: str) -> Message:
        """Return the channel's next message, waiting for it."""
        queue = self._queue(channel)
        try:
            return await queue.get()
        finally:
            # An empty channel keeps no memory.
            if queue.empty() and self.queues.get(channel) is queue:
                del self.queues[channel]

    async def listen(self, channel: str, receive: Callable[[Any], None]) -> None:
        """Call `receive` for each event of a channel while it is sent; never returns.

        Its errors are raised by whoever sends the event.
        """
        self.listeners[channel] = receive
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            del self.listeners[channel]

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self.groups.setdefault(group, {})[channel] = None

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        members = self.groups.get(group)
        if members is not None:
            members.pop(channel, None)
            if not members:
                del self.groups[group]

    async def group_send(self, group: str, message: Message) -> None:
        self.require_valid_group_name(group)
        if not isinstance(message, dict):
            raise TypeError("A message is a dict.")
        self._send_to_members(group, message)

    async def group_send_many(self, events: Iterable[tuple[str, LayerEvent]]) -> None:
        """Send each event to its group, in order; group names are not validated."""
        for group, event in events:
            self._send_to_members(group, event)

    def shard_groups(self, prefix: str) -> list[str]:
        """Return a group name per shard. There is one shard."""
        return [prefix]

    def connections(self) -> object:
        """Return a value that changes when a connection is lost: here never."""
        return None

    def _send_to_members(self, group: str, message: Message) -> None:
        for channel in self.groups.get(group, ()):
            if (receive := self.listeners.get(channel)) is not None:
                receive(message)
                continue
            try:
                self._queue(channel).put_nowait(message)
            except asyncio.QueueFull:
                self.dropped += 1

    async def flush(self) -> None:
        self.queues.clear()
        self.groups.clear()


# How long received events are dispatched before other tasks run. With less, events of
# a hundred publishers arrive faster than they are dispatched.
TURN_S = 0.02
# Events that are dispatched between two reads of the clock.
EVENTS_PER_TIME_CHECK = 50
# How long events wait for others, to share a round trip to Redis.
GATHER_S = 0.002
# How long a call to Redis may take.
REDIS_TIMEOUT_S = 1.0
# The time-out of redis-py, for connecting too, which does not allow for a busy event
# loop.
REDIS_SOCKET_TIMEOUT_S = 5.0
# A time-out that fires later than this is due to a busy event loop. Redis may have
# replied, but the reply has not been read.
LOOP_LATE_S = 0.2


@contextlib.asynccontextmanager
async def redis_timeout() -> AsyncIterator[None]:
    """Limit a call to `REDIS_TIMEOUT_S`, again after each delay of the loop.

    Raises TimeoutError.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def expire(due: float) -> None:
        nonlocal timer
        now = loop.time()
        if now - due > LOOP_LATE_S:
            timer = loop.call_at(now + REDIS_TIMEOUT_S, expire, now + REDIS_TIMEOUT_S)
        else:
            scope.reschedule(now)

    due = loop.time() + REDIS_TIMEOUT_S
    timer = loop.call_at(due, expire, due)
    try:
        async with asyncio.timeout(None) as scope:
            yield
    finally:
        timer.cancel()


def shorten_redis_error(record: logging.LogRecord) -> bool:
    """Shorten the records that channels-redis logs each second while Redis is down.

    A `logging` filter: returns True, so that the record is logged.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, RedisError | OSError):
        record.msg, record.args = "Redis does not answer: %s", (error,)
        record.exc_info = None
    return True


class RedisLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """channels-redis' pub/sub layer that publishes in pipelines.

    The original holds a lock for a round trip per publication, which limits it to
    4,000 per second. Here all events sent within 2 ms are one pipeline per shard.
    """

    is_local = False

    def __init__(self, hosts: list[str], prefix: str) -> None:
        super().__init__(
            hosts=[
                {"address": host, "socket_timeout": REDIS_SOCKET_TIMEOUT_S}
                for host in hosts
            ],
            prefix=prefix,
        )
        logging.getLogger("channels_redis.pubsub").addFilter(shorten_redis_error)
        self.dropped = 0
        self._waiting: list[tuple[str, LayerEvent]] = []
        self._round: asyncio.Task[None] | None = None

    async def group_send_many(self, events: Iterable[tuple[str, LayerEvent]]) -> None:
        """Publish each event to its group, in order; return once Redis has them.

        Raises redis-py's errors if Redis is unavailable; the events are then lost, as
        the layer delivers at most once, and counted in `dropped`.
        """
        self._waiting.extend(events)
        if self._round is None:
            self._round = asyncio.create_task(self._publish_gathered())
        await asyncio.shield(self._round)

    async def listen(self, channel: str, receive: Callable[[LayerEvent], None]) -> None:
        """Call `receive` for each event of a channel, until receiving fails."""
        loop = asyncio.get_running_loop()
        turn_ends = 0.0
        while True:
            for _ in range(EVENTS_PER_TIME_CHECK):
                receive(await self.receive(channel))
            if loop.time() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = loop.time() + TURN_S

    def serialize(self, message: Message) -> bytes:
        event = cast(LayerEvent, message)
        plain = message if isinstance(message, dict) else to_values(event)
        return cast(bytes, super().serialize(plain))

    def deserialize(self, message: bytes) -> Message:
        plain = super().deserialize(message)
        return plain if isinstance(plain, dict) else from_values(plain)

    def shard_groups(self, prefix: str) -> list[str]:
        """Return a group name for each shard, so that probes pass through each."""
        layer = cast(RedisPubSubLoopLayer, self._get_layer())
        found: dict[RedisSingleShardConnection, str] = {}
        for number in itertools.count():
            group = f"{prefix}.{number}"
            name = layer._get_group_channel_name(group)
            found.setdefault(layer._get_shard(name), group)
            if len(found) == len(layer._shards):
                return list(found.values())
        raise AssertionError

    def connections(self) -> object:
        """Return a value that changes when a connection is lost.

        redis-py reconnects and resubscribes automatically, without a signal that
        events published meanwhile are lost.
        """
        layer = cast(RedisPubSubLoopLayer, self._get_layer())
        subscriptions = [shard._pubsub for shard in layer._shards]
        return [
            getattr(getattr(subscription, "connection", None), "_reader", None)
            for subscription in subscriptions
        ]

    async def _publish_gathered(self) -> None:
        await asyncio.sleep(GATHER_S)
        events, self._waiting = self._waiting, []
        self._round = None
        layer = cast(RedisPubSubLoopLayer, self._get_layer())
        shards: dict[RedisSingleShardConnection, list[tuple[str, bytes]]] = {}
        for group, event in events:
            name = layer._get_group_channel_name(group)
            shards.setdefault(layer._get_shard(name), []).append(
                (name, self.serialize(event))
            )
        results = await asyncio.gather(
            *(self._publish(shard, batch) for shard, batch in shards.items()),
            return_exceptions=True,
        )
        for batch, result in zip(shards.values(), results, strict=True):
            if isinstance(result, BaseException):
                self.dropped += len(batch)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _publish(
        self, shard: RedisSingleShardConnection, batch: list[tuple[str, bytes]]
    ) -> None:
        async with redis_timeout(), shard._lock:
            shard._ensure_redis()
            pipeline = shard._redis.pipeline(transaction=False)
            for name, payload in batch:
                pipeline.publish(name, payload)
            await pipeline.execute()
