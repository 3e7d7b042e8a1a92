"""Delivers the messages of webhooks in the background of a serving process.

At most one message per webhook is on its way, so that a receiver that does not answer
delays no other one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone
from standardwebhooks.webhooks import Webhook as Signer

from runners.database import prepare_connection
from runners.models import Webhook, WebhookMessage
from runners.notifying.endpoints import Answer, EndpointRefused, post
from runners.notifying.webhooks import webhooks_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Time between two polls.
POLL_S = 1.0
# Limit of messages on their way.
MOST = 32
# How long a message is reserved for this process; longer than an attempt takes.
LEASE = timedelta(minutes=1)
# Delays after each failed attempt. The specification recommends them.
DELAYS = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=2), timedelta(hours=5), timedelta(hours=10)),
    *(timedelta(hours=14), timedelta(hours=20), timedelta(hours=24)),
)
# A webhook that has accepted nothing for this long is disabled.
DISABLED_AFTER = timedelta(days=5)
# How long messages are kept, and with them the possibility to send them again.
KEPT = timedelta(days=14)
GONE = 410
NOT_PERMITTED = "Not sent: the account may no longer have it."


class WebhookSender:
    """Delivers this process's share of messages."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start delivering; a second call changes nothing."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(
                target=self._run, name="webhooks", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Stop after the messages on their way; others stay in the database. Blocks."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self.deliver(until=self._stopping.is_set))

    async def deliver(self, until: Callable[[], bool]) -> None:
        """Deliver due messages until a condition is true and none is on its way."""
        on_way: dict[int, asyncio.Task[None]] = {}
        # Queries have one thread, because the ORM refuses to run beside an event loop.
        with ThreadPoolExecutor(1) as store:
            try:
                while not until():
                    await self._round(store, on_way)
                await asyncio.gather(*on_way.values())
            finally:
                await self._query(store, _close_connection)

    async def _round(
        self, store: ThreadPoolExecutor, on_way: dict[int, asyncio.Task[None]]
    ) -> None:
        """Start the due messages of webhooks without one on its way, and wait."""
        for pk in [pk for pk, task in on_way.items() if task.done()]:
            del on_way[pk]
        for message in await self._query(store, _claim, set(on_way)) or ():
            sending = self._send(store, message)
            on_way[message.webhook_id] = asyncio.create_task(sending)
        # The next message of a webhook follows the one before without a pause.
        pause = asyncio.create_task(asyncio.sleep(POLL_S))
        await asyncio.wait(
            [*on_way.values(), pause], return_when=asyncio.FIRST_COMPLETED
        )
        pause.cancel()

    async def _query(
        self, store: ThreadPoolExecutor, query: Callable[..., T], *args: object
    ) -> T | None:
        """Run a query; return None if the database failed."""

        def call() -> T | None:
            try:
                prepare_connection()
                return query(*args)
            except DatabaseError as error:
                logger.warning("Webhooks wait, as the database failed: %s", error)
                connection.close()
                return None

        return await asyncio.get_running_loop().run_in_executor(store, call)

    async def _send(self, store: ThreadPoolExecutor, message: WebhookMessage) -> None:
        webhook = message.webhook
        now = timezone.now()
        body = message.body
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Spectate",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(webhook.secret).sign(
                message.message_id, now, body
            ),
        }
        answer: Answer | None = None
        try:
            answer = await post(webhook.url, headers, body.encode())
            result = f"HTTP {answer.status}"
        except EndpointRefused as error:
            result = str(error)
        except TimeoutError:
            result = "No answer in time."
        except OSError as error:
            result = f"Not reachable: {error}"
        accepted = answer is not None and 200 <= answer.status < 300
        if accepted:
            self.delivered += 1
        else:
            self.failed[f"HTTP {answer.status}" if answer else "no answer"] += 1
        await self._query(store, _settle, message, accepted, result, answer)


def _close_connection() -> None:
    # The proxy leads to the connection of the thread that asks.
    connection.close()


def _claim(busy: set[int]) -> list[WebhookMessage]:
    """Reserve due messages; end those whose account has lost the right to them."""
    messages = WebhookMessage.objects.claim(
        most=MOST - len(busy), lease=LEASE, busy=busy
    )
    races = {each.race_id: each.race for each in messages}
    webhooks = {pk: webhooks_of(race) for pk, race in races.items()}
    permitted = [each for each in messages if each.webhook in webhooks[each.race_id]]
    if ended := {each.pk for each in messages} - {each.pk for each in permitted}:
        rows = WebhookMessage.objects.filter(pk__in=ended)
        rows.update(due_at=None, result=NOT_PERMITTED)
    return permitted


def _settle(
    message: WebhookMessage, accepted: bool, result: str, answer: Answer | None
) -> None:
    """Store the result of an attempt."""
    now = timezone.now()
    webhooks = Webhook.objects.filter(pk=message.webhook_id)
    message.result = result[:80]
    if accepted:
        message.delivered_at, message.due_at = now, None
        webhooks.filter(failing_since__isnull=False).update(failing_since=None)
    else:
        message.due_at = _next_attempt(message, now, answer)
        webhooks.filter(failing_since=None).update(failing_since=now)
        is_gone = answer is not None and answer.status == GONE
        ill = (
            webhooks
            if is_gone
            else webhooks.filter(failing_since__lt=now - DISABLED_AFTER)
        )
        if ill.filter(disabled_at=None).update(disabled_at=now):
            logger.warning("The webhook %s was disabled: %s", message.webhook, result)
    message.save(update_fields=["result", "delivered_at", "due_at"])


def _next_attempt(
    message: WebhookMessage, now: datetime, answer: Answer | None
) -> datetime | None:
    if message.attempts > len(DELAYS):
        return None
    asked = timedelta(seconds=answer.retry_after if answer else 0)
    return now + max(DELAYS[message.attempts - 1], asked)


def tidy() -> None:
    """Delete old messages."""
    WebhookMessage.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
