"""Is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runners import store
from runners.positions.accept import Acceptor, get_acceptor
from runners.serving.admission import get_admission


async def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


async def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether to send somebody here: 503 while it can take nobody on.

    That is while it leaves, is overloaded, or the database is away.
    """
    admission = get_admission()
    if admission.leaving:
        return JsonResponse({"process": "leaving"}, status=503)
    if admission.overloaded:
        return JsonResponse({"process": "overloaded"}, status=503)
    try:
        await store.read(_ask_database)
    except store.StoreUnavailable:
        return JsonResponse({"database": "unavailable"}, status=503)
    return JsonResponse({"database": "ok"})


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def metrics(request: HttpRequest) -> HttpResponse:
    """Show this process's counts in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_ProcessCollector(get_acceptor(), len(asyncio.all_tasks())))
    return HttpResponse(
        generate_latest(registry), content_type="text/plain; version=0.0.4"
    )


class _ProcessCollector(Collector):
    """Reads the plain numbers that the hot path keeps."""

    def __init__(self, acceptor: Acceptor, tasks: int) -> None:
        self.acceptor = acceptor
        self.tasks = tasks

    def collect(self) -> Iterable[Metric]:
        acceptor, relay = self.acceptor, self.acceptor.relay
        recorder = acceptor.recorder
        for name, text, value in (
            ("sockets", "Websockets that are open.", len(relay.sockets)),
            ("groups", "Channel-layer groups this process is in.", relay.groups),
            ("follows", "Pairs of a follower and a runner.", relay.follows),
            ("tasks", "Tasks of the event loop.", self.tasks),
            ("recorder_waiting", "Fixes not committed yet.", recorder.waiting),
            ("oldest_unstored_seconds", "Age of the oldest.", recorder.oldest),
            ("commit_seconds", "The last commit.", recorder.commit_seconds),
        ):
            yield GaugeMetricFamily(f"spectate_{name}", text, value)
        for name, text, value in (
            ("deliveries", "Positions written to sockets.", relay.delivered),
            ("merged", "Positions merged away.", relay.merged),
            ("accepted", "Fixes accepted.", acceptor.accepted),
            ("stored", "Fixes committed.", recorder.stored),
            ("unsent", "Events the layer did not take.", acceptor.unsent),
            ("gaps", "Times the layer lost events.", relay.gaps),
            ("layer_dropped", "Events the layer dropped.", relay.layer.dropped),
        ):
            yield CounterMetricFamily(f"spectate_{name}", text, value)
        for name, text, counts in (
            ("refused", "Fixes refused.", acceptor.refused),
            ("not_stored", "Fixes shown but not stored.", recorder.not_stored),
        ):
            family = CounterMetricFamily(f"spectate_{name}", text, labels=["reason"])
            for reason, count in counts.items():
                family.add_metric([reason], count)
            yield family
