"""Both layers against Channels' layer specification."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from channels.exceptions import ChannelFull

from runners.live.events import (
    Cheered,
    EventsLost,
    FixHeld,
    LateFixes,
    LayerEvent,
    PhoneChanged,
    PositionAccepted,
    Probe,
    SplitPassed,
    StateCorrected,
    StatusChanged,
    from_values,
    to_values,
)
from runners.live.layer import REDIS_TIMEOUT_S, LocalLayer, RedisLayer, redis_timeout
from tests.services import Redis
from tests.waiting import within

T = 1_795_509_018_532


def test_a_split_is_sent_as_the_previous_version_reads_it() -> None:
    split = SplitPassed(1, "ann", "city", 1, T, 1_000.0, T, 5.0, 1, False, None)
    values = to_values(split)
    assert len(values) == len(SplitPassed._fields)
    assert from_values(values) == split
    withdrawn = split._replace(withdrawn=True)
    assert from_values([*to_values(withdrawn), "of a newer version"]) == withdrawn


@pytest.fixture(params=["local", "redis"])
async def any_layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "local":
        yield LocalLayer()
        return
    redis: Redis = request.getfixturevalue("shared_redis")
    layer = RedisLayer(hosts=[redis.url], prefix="test.")
    yield layer
    await layer.flush()


async def receive(layer: Any, channel: str) -> Any:
    return await within(layer.receive(channel))


async def receives_nothing(layer: Any, channel: str) -> bool:
    """Return whether a channel has no message before one that is sent now."""
    await layer.send(channel, {"type": "test.end"})
    return bool(await receive(layer, channel) == {"type": "test.end"})


async def test_send_reaches_its_channel_in_order(any_layer: Any) -> None:
    channel = await any_layer.new_channel()
    for number in range(3):
        await any_layer.send(channel, {"type": "test", "number": number})
    received = [await receive(any_layer, channel) for _ in range(3)]
    assert [message["number"] for message in received] == [0, 1, 2]


async def test_new_channels_have_unique_names(any_layer: Any) -> None:
    names = {await any_layer.new_channel() for _ in range(10)}
    assert len(names) == 10


async def test_group_send_reaches_each_member_once(any_layer: Any) -> None:
    alice, bob, charlie = [await any_layer.new_channel() for _ in range(3)]
    for channel in (alice, alice, bob):
        await any_layer.group_add("runner.1", channel)
    await any_layer.group_send("runner.1", {"type": "test"})
    assert await receive(any_layer, alice) == {"type": "test"}
    assert await receive(any_layer, bob) == {"type": "test"}
    assert await receives_nothing(any_layer, alice)
    assert await receives_nothing(any_layer, charlie)


async def test_group_discard_ends_membership_and_may_be_repeated(
    any_layer: Any,
) -> None:
    channel = await any_layer.new_channel()
    await any_layer.group_add("runner.1", channel)
    await any_layer.group_discard("runner.1", channel)
    await any_layer.group_discard("runner.1", channel)
    await any_layer.group_discard("runner.2", channel)
    await any_layer.group_send("runner.1", {"type": "test"})
    assert await receives_nothing(any_layer, channel)


async def test_group_send_without_members_is_no_error(any_layer: Any) -> None:
    await any_layer.group_send("runner.404", {"type": "test"})


async def test_group_send_many_keeps_the_order_within_a_group(any_layer: Any) -> None:
    channel = await any_layer.new_channel()
    await any_layer.group_add("runner.1", channel)
    await any_layer.group_add("runner.2", channel)
    await any_layer.group_send_many(
        [(f"runner.{1 + n % 2}", {"type": "t", "n": n}) for n in range(20)]
    )
    received = [(await receive(any_layer, channel))["n"] for _ in range(20)]
    assert [n for n in received if n % 2] == list(range(1, 20, 2))
    assert [n for n in received if not n % 2] == list(range(0, 20, 2))


async def test_group_send_many_from_concurrent_senders_loses_nothing(
    any_layer: Any,
) -> None:
    channel = await any_layer.new_channel()
    await any_layer.group_add("runner.1", channel)
    async with asyncio.TaskGroup() as senders:
        for n in range(50):
            senders.create_task(
                any_layer.group_send_many([("runner.1", {"type": "t", "n": n})])
            )
    received = {(await receive(any_layer, channel))["n"] for _ in range(50)}
    assert received == set(range(50))


@pytest.mark.parametrize(
    "event",
    [
        PositionAccepted(
            7, "bob", T, 48.5, 2.5, 3.0, None, 1.0, None, 7, True, {"a": 1}
        ),
        LateFixes(7, "bob", [cast(Any, [T, 48.0, 2.0])]),
        FixHeld(7, {"a": [1]}),
        StateCorrected(7, {"a": [1]}),
        SplitPassed(7, "bob", "half", 1, T, 5.0, T, 0.5, 1, corrected=True, only=None),
        StatusChanged(7, "bob", "started", T),
        PhoneChanged(7, "bob", 4.0, None, T),
        Cheered(7, "bob", "Go!", T),
        Probe("hub.1", T),
        EventsLost(T),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_a_domain_event_arrives_as_it_was_sent(
    any_layer: Any, event: LayerEvent
) -> None:
    channel = await any_layer.new_channel()
    await any_layer.group_add("runner.7", channel)
    await any_layer.group_send_many([("runner.7", event)])
    received = await receive(any_layer, channel)
    assert type(received) is type(event)
    assert received == event


async def test_bytes_and_numbers_arrive_unchanged(any_layer: Any) -> None:
    channel = await any_layer.new_channel()
    message = {"type": "t", "seed": b"\x81\x02{}", "t": T, "state": {}}
    await any_layer.send(channel, message)
    assert await receive(any_layer, channel) == message


async def test_flush_removes_channels_and_groups(any_layer: Any) -> None:
    channel = await any_layer.new_channel()
    await any_layer.group_add("runner.1", channel)
    await any_layer.flush()
    await any_layer.group_send("runner.1", {"type": "test"})
    assert not any_layer.groups


async def test_local_layer_refuses_to_send_to_a_full_channel() -> None:
    layer = LocalLayer(capacity=2)
    channel = await layer.new_channel()
    for _ in range(2):
        await layer.send(channel, {"type": "test"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "test"})


async def test_local_layer_counts_messages_that_a_full_member_misses() -> None:
    layer = LocalLayer(capacity=2)
    channel = await layer.new_channel()
    await layer.group_add("runner.1", channel)
    for _ in range(5):
        await layer.group_send("runner.1", {"type": "test"})
    assert layer.dropped == 3


async def test_local_layer_keeps_no_queue_for_an_empty_channel() -> None:
    layer = LocalLayer()
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "test"})
    await layer.receive(channel)
    assert layer.queues == {}
    reader = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    assert layer.queues
    reader.cancel()
    await asyncio.wait([reader])
    assert layer.queues == {}


@pytest.mark.parametrize("name", ["", "with space", "a" * 101, "ä", 7])
async def test_local_layer_refuses_invalid_names(name: Any) -> None:
    layer = LocalLayer()
    channel = await layer.new_channel()
    with pytest.raises(TypeError):
        await layer.group_add(name, channel)
    with pytest.raises(TypeError):
        await layer.group_send(name, {"type": "test"})


async def test_local_layer_refuses_a_message_that_is_not_a_dict() -> None:
    layer = LocalLayer()
    not_a_dict: Any = ["test"]
    with pytest.raises(TypeError):
        await layer.send(await layer.new_channel(), not_a_dict)
    with pytest.raises(TypeError):
        await layer.group_send("runner.1", not_a_dict)


async def test_a_busy_event_loop_does_not_count_as_a_redis_timeout() -> None:
    loop = asyncio.get_running_loop()
    async with redis_timeout():
        # Many requests can block the loop like this; the reply arrives meanwhile,
        # unread.
        loop.call_soon(time.sleep, REDIS_TIMEOUT_S + 0.5)
        await asyncio.sleep(REDIS_TIMEOUT_S + 0.3)
    with pytest.raises(TimeoutError):
        async with redis_timeout():
            await asyncio.Event().wait()


async def test_a_busy_event_loop_does_not_fail_a_new_connection_to_redis(
    shared_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def connect_busily(sock: Any, address: Any) -> None:
        loop.call_soon(time.sleep, REDIS_TIMEOUT_S + 0.3)
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", connect_busily)
    layer = RedisLayer(hosts=[shared_redis.url], prefix="test.")
    await layer.group_send_many([("runner.1", EventsLost(T))])
    assert layer.dropped == 0
    await layer.flush()


async def test_redis_layer_counts_drops_and_raises_while_redis_is_away(
    redis_server: Redis,
) -> None:
    layer = RedisLayer(hosts=[redis_server.url], prefix="test.")
    redis_server.kill()
    with pytest.raises(Exception, match="onnect"):
        await layer.group_send_many([("runner.1", EventsLost(T))] * 3)
    assert layer.dropped == 3
    redis_server.start()
    await layer.group_send_many([("runner.1", EventsLost(T))])
    assert layer.dropped == 3
    await layer.flush()


async def test_a_listener_of_the_local_layer_is_called_in_the_order_of_sending() -> (
    None
):
    layer = LocalLayer()
    heard: list[object] = []
    channel = await layer.new_channel()
    await layer.group_add("runner.1", channel)
    listening = asyncio.create_task(layer.listen(channel, heard.append))
    await asyncio.sleep(0)

    await layer.group_send_many([("runner.1", Probe("runner.1", t)) for t in (1, 2)])
    assert heard == [Probe("runner.1", 1), Probe("runner.1", 2)]

    listening.cancel()
    await asyncio.wait([listening])
    await layer.group_send_many([("runner.1", Probe("runner.1", 3))])
    assert await layer.receive(channel) == Probe("runner.1", 3)
