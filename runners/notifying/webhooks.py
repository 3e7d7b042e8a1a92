"""Queues the events of races for organisers' webhooks.

The messages name no position. Their form is that of the Standard Webhooks
specification (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

import orjson
from django.utils import timezone

from runners.models import Entry, Race, Webhook, WebhookMessage
from runners.models.news import Kind, News
from runners.rights.roles import Action, may, organises_all

TYPES = {
    Kind.START: "entry.started",
    Kind.CHECKPOINT: "entry.split",
    Kind.FINISH: "entry.finished",
    Kind.OUT: "entry.out",
    Kind.OFF_COURSE: "entry.off_course",
    Kind.CHANGED: "entry.changed",
    Kind.SILENCE: "entry.silent",
    Kind.SOS: "sos.opened",
    Kind.FINE: "sos.withdrawn",
}


def queue_messages(batch: Iterable[News]) -> int:
    """Queue messages of news to the webhooks of their races; return their number.

    Call it in the transaction that marks the news as spread.
    """
    of_races = [news for news in batch if news.entry_id]
    if not of_races or not Webhook.objects.active().exists():
        return 0
    entries = (
        Entry.objects.filter(pk__in={news.entry_id for news in of_races})
        .select_related("race", "runner", "wave")
        .defer("race__line")
        .in_bulk()
    )
    races = {entry.race for entry in entries.values()}
    webhooks = {race.pk: webhooks_of(race) for race in races}
    messages = [
        WebhookMessage(
            webhook=webhook,
            race=entry.race,
            once=news.once,
            message_id=f"msg_{secrets.token_hex(16)}",
            kind=TYPES[Kind(news.kind)],
            body=_body(news, entry),
        )
        for news in of_races
        if (entry := entries.get(news.entry_id or 0)) is not None
        for webhook in webhooks[entry.race_id]
    ]
    return len(WebhookMessage.objects.bulk_create(messages, ignore_conflicts=True))


def webhooks_of(race: Race) -> list[Webhook]:
    """Return the webhooks of a race whose account may still have them there."""
    return [
        webhook
        for webhook in Webhook.objects.of_race(race.pk).select_related("account")
        if organises_all(webhook.account) or may(webhook.account, race, Action.SYSTEMS)
    ]


def _body(news: News, entry: Entry) -> str:
    data: dict[str, str | int | None] = {
        "race": entry.race.slug,
        "bib": entry.bib,
        "code": entry.runner.code,
        "time": _iso(news.at),
    }
    if news.kind == Kind.CHECKPOINT and news.checkpoint is not None:
        data |= {"checkpoint": news.checkpoint.name, "pass": news.pass_number}
    if news.kind in (Kind.OUT, Kind.CHANGED):
        data["status"] = entry.status
    if news.kind == Kind.CHANGED:
        data |= {
            "name": entry.runner.name,
            "category": entry.category,
            "club": entry.club,
            "wave": entry.wave.name if entry.wave else "",
        }
    body = {
        "type": TYPES[Kind(news.kind)],
        "timestamp": _iso(timezone.now()),
        "data": data,
    }
    return orjson.dumps(body).decode()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
