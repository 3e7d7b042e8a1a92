"""HTTP faults and endpoints, compared with docs/openapi.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.urls import get_resolver

from runners.intake.endpoint import APPS
from tests.api.answers import faults, operations, used_parts
from tests.api.documents import Document
from tests.api.faults import FAULTS, Faulty

# Pages, their parts, data for their scripts only, and what has a document of its own.
NOT_FOR_PROGRAMS = re.compile(
    r"$|favicon.ico|admin/|api/|invitations/|me/|notifications/|share/|s/|sign-|stop/|words/"
    r"|races/$|races/<slug:slug>/($|map/|preview|embed/|standings/|runners/)|runners/<code:code>/($|follow/|unfollow/|phones/)"
)


@pytest.mark.parametrize("part", FAULTS)
async def test_faults_are_answered_as_documented(
    part: str, openapi: Document, faulty: Faulty
) -> None:
    answer = await FAULTS[part](faulty)
    assert list(faults(openapi, answer)) == []
    assert part in used_parts(openapi, answer)


def test_each_endpoint_is_documented(openapi: Document) -> None:
    """Views that reply to programs and endpoints of apps, without exception."""
    paths = {re.sub(r"\{(\w+)\}", r"<\1>", path) for _, path, _ in operations(openapi)}
    for name in APPS:
        assert f"/intake/{name}/<token>/" in paths
    for route in routes():
        if not NOT_FOR_PROGRAMS.match(route):
            assert "/" + re.sub(r"<\w+:", "<", route) in paths


def routes() -> Iterator[str]:
    for pattern in get_resolver("runners.urls").url_patterns:
        yield str(pattern.pattern)
