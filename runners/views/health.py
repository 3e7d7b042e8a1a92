"""Readiness and metrics of a process."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CollectorRegistry, generate_latest

from runners import database
from runners.serving.metrics import collector
from runners.serving.process import current


async def readyz(request: HttpRequest) -> JsonResponse:
    """Return 503 while the process accepts no new clients, otherwise 200.

    That is in a drain, under overload, or while the database is unavailable.
    """
    admission = current().admission
    if admission.draining:
        return JsonResponse({"process": "leaving"}, status=503)
    if admission.overloaded:
        return JsonResponse({"process": "overloaded"}, status=503)
    try:
        await database.read(_query_database)
    except database.DatabaseUnavailable:
        return JsonResponse({"database": "unavailable"}, status=503)
    return JsonResponse({"database": "ok"})


def _query_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of all workers in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(collector(current()))
    return HttpResponse(
        generate_latest(registry), content_type="text/plain; version=0.0.4"
    )
