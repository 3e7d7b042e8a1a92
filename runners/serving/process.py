"""The composition root: builds, starts and stops the services of one process."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from channels.layers import get_channel_layer
from django.conf import settings

from runners.live.hub import Hub
from runners.live.layer import Layer
from runners.notifying.notifier import Notifier
from runners.notifying.webhook_sender import WebhookSender
from runners.positions.pipeline import Pipeline
from runners.positions.rate_limits import Limits
from runners.positions.recorder import Recorder
from runners.recovery.backfill import Backfiller
from runners.rights.failures import Failures
from runners.rights.token_cache import TokenCache
from runners.serving.admission import Admission
from runners.serving.garbage_collection import FullCollections
from runners.serving.operator_socket import OperatorSocket
from runners.serving.pruning import DailyPruning
from runners.serving.turns import Turns
from runners.subscriptions.access_monitor import AccessMonitor
from runners.subscriptions.arrival_reads import ArrivalReads
from runners.subscriptions.runner_reads import RunnerReads
from runners.subscriptions.topic_registry import TopicRegistry

# Delays of the answers to wrong tokens and share links of a network, and to requests
# that are too many.
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
# The rate of one socket: messages other than positions, and each runner or race that
# one names, as each may cause an error and a read.
COMMANDS_PER_S = 50.0
COMMAND_BURST = 2_500.0
# How long a thread may keep the interpreter while the event loop waits for it. Python's
# 5 ms delay each step of the loop by a multiple of that while threads make pages.
SWITCH_INTERVAL_S = 0.001


class Source(Protocol):
    """Receives positions while a process serves, other than by requests.

    `taken` and `refused` count messages, the latter by the code of the refusal.
    """

    name: str
    taken: int
    refused: Counter[str]

    @property
    def connected(self) -> bool:
        """Return whether positions can arrive."""

    def start(self) -> None:
        """Start receiving."""

    async def close(self) -> None:
        """Stop receiving."""


class Process:
    """The services of one serving process; they belong to the running event loop.

    Each gets the services that it needs, so they are built from the bottom up. Their
    tasks run from then on. `start` adds the work that needs no request.
    """

    def __init__(self, layer: Layer) -> None:
        self.hub = Hub(layer)
        self.backfiller = Backfiller(self.hub)
        self.recorder = Recorder()
        self.pipeline = Pipeline(self.hub, self.recorder)
        self.topics = TopicRegistry(self.hub)
        self.runner_reads = RunnerReads()
        self.arrival_reads = ArrivalReads()
        self.access_monitor = AccessMonitor(self.pipeline, self.topics)
        self.admission = Admission(self.hub)
        self.tokens = TokenCache()
        # Keyed by runners instead of tokens, because an account may create any number
        # of tokens.
        self.publish_limits = Limits(
            float(settings.SPECTATE_PUBLISH_RATE),
            float(settings.SPECTATE_PUBLISH_BURST),
        )
        # By network: of tokens and share links.
        self.wrong_secrets = Failures(FIRST_WAIT_S, LONGEST_WAIT_S)
        # By network: of requests that are too many.
        self.refusals = Failures(FIRST_WAIT_S, LONGEST_WAIT_S)
        # By network: of messages that are too many, and runners that are refused.
        self.refused_commands = Limits(COMMANDS_PER_S, COMMAND_BURST)
        # By network: of messages that follow hundreds of runners.
        self.long_follows = Turns(1)
        self.notifier = Notifier()
        self.webhooks = WebhookSender()
        self.operator_socket = OperatorSocket(self.access_monitor.sockets)
        self.full_collections = FullCollections()
        self.pruning = DailyPruning()
        self.sources: list[Source] = []

    async def start(self) -> None:
        """Start notifications, the operator's socket, daily work and the sources."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self.notifier.start()
        self.webhooks.start()
        await self.operator_socket.open()
        self.full_collections.start()
        self.pruning.start()
        self.sources = [make(self) for make in sources]
        for source in self.sources:
            source.start()

    async def stop(self) -> None:
        """Stop everything in reverse order and store queued rows."""
        global _current
        for source in self.sources:
            await source.close()
        await self.pruning.close()
        await self.full_collections.close()
        await self.operator_socket.close()
        await asyncio.to_thread(self.notifier.stop)
        await asyncio.to_thread(self.webhooks.stop)
        await self.admission.close()
        await self.arrival_reads.close()
        await self.access_monitor.close()
        await self.pipeline.close()
        await asyncio.to_thread(self.recorder.stop)
        await self.pipeline.notified()
        await self.hub.close()
        _current = None


# Sources that each process starts. They are above this package: spectate/asgi.py adds
# them.
sources: list[Callable[[Process], Source]] = []

_current: Process | None = None


def current() -> Process:
    """Return the services of this process; raises RuntimeError if it does not serve."""
    if _current is None:
        raise RuntimeError("The process has not been started: see serving/lifespan.py.")
    return _current


def is_current() -> bool:
    """Return whether this process has services."""
    return _current is not None


def build(layer: Layer | None = None) -> Process:
    """Build the services, on the configured layer by default, and make them current."""
    global _current
    _current = Process(layer or get_channel_layer())
    return _current


async def start() -> None:
    """Build and start the services of this process."""
    await build().start()


async def stop() -> None:
    """Stop the services of this process, if it has any."""
    if _current is not None:
        await _current.stop()


def complete_before(t: int) -> int:
    """Return the time since which a client connected until `t` may lack events.

    Milliseconds. For views, which also answer in processes without live services.
    """
    return t if _current is None else _current.backfiller.complete_before(t)
