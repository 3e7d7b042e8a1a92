"""Sends web pushes to the push services that respond."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import urlsplit

import orjson
from django.utils import timezone

from runners.models import Subscription
from runners.models.news import Kind
from runners.notifying import deliveries, webpush
from runners.notifying.attempts import Failed, Job
from runners.notifying.endpoints import Answer, EndpointRefused, post

logger = logging.getLogger(__name__)

# A push service is skipped for a time after this many subscriptions of it have not
# responded in a row: a single one may be anybody's.
AWAY_AFTER = 3
UNREACHABLE_SKIP_S = 30.0


class PushServices:
    """The push services of browsers, as this process knows them. Two threads push."""

    def __init__(self) -> None:
        # Subscriptions that did not respond since the last response of their host, and
        # the time until which a host is skipped.
        self._silent: dict[str, set[int]] = defaultdict(set)
        self._away: dict[str, float] = {}

    def forget(self) -> None:
        self._silent.clear()
        self._away.clear()

    def push(self, jobs: Sequence[Job]) -> None:
        """Push all jobs at the same time, and note in each why it failed."""
        # The ORM refuses to run in a thread with an event loop, so each round has a new
        # one.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._push_all(jobs))

    async def _push_all(self, jobs: Sequence[Job]) -> None:
        await asyncio.gather(*(self._push(job) for job in jobs))

    async def _push(self, job: Job) -> None:
        subscription = job.delivery.subscription
        assert subscription is not None
        host = urlsplit(subscription.endpoint).netloc
        now = time.monotonic()
        until = self._away.get(host, now)
        if until > now and not job.delivery.urgent:
            job.failed = Failed("unreachable", again=until - now)
            return
        try:
            answer = await post(subscription.endpoint, *_message(job, subscription))
        except EndpointRefused:
            job.failed = Failed("private", gone=True)
        except (OSError, TimeoutError):
            self._silent[host].add(subscription.pk)
            if len(self._silent[host]) >= AWAY_AFTER:
                self._away[host] = now + UNREACHABLE_SKIP_S
            job.failed = Failed("unreachable", again=UNREACHABLE_SKIP_S)
        except Exception:
            logger.exception("A push message could not be created")
            job.failed = Failed("error")
        else:
            self._silent.pop(host, None)
            self._away.pop(host, None)
            job.failed = _failure_of(answer)


def _message(job: Job, subscription: Subscription) -> tuple[dict[str, str], bytes]:
    news = job.delivery.news
    remaining = news.at + deliveries.NEWS_FOR[Kind(news.kind)] - timezone.now()
    headers = webpush.headers(
        subscription.endpoint,
        ttl=max(0, int(remaining.total_seconds())),
        # A phone that sleeps would get the notification after the runner.
        urgent=job.delivery.urgent or news.kind == Kind.ARRIVAL,
        topic=news.once,
    )
    payload = {
        **job.words._asdict(),
        "tag": news.once,
        "runner": news.runner.code,
        "at": int(news.at.timestamp() * 1000),
        "urgent": job.delivery.urgent,
    }
    body = webpush.encrypt(
        orjson.dumps(payload), p256dh=subscription.p256dh, auth=subscription.auth
    )
    return headers, body


def _failure_of(answer: Answer) -> Failed | None:
    """Evaluate the response of a push service."""
    status = answer.status
    if 200 <= status < 300:
        return None
    if status in (404, 410):
        return Failed("gone", gone=True)
    if status == 429 or status >= 500:
        return Failed("busy", again=answer.retry_after)
    # Includes redirects: a push service sends none.
    return Failed("refused")
