"""HTTP faults and endpoints, compared with docs/openapi.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.urls import get_resolver

from runners.intake.endpoint import APPS
from runners.intake.values import KNOWN_NAMES
from tests.api.answers import (
    documented_status,
    faults,
    operations,
    parameters,
    used_parts,
)
from tests.api.documents import Document
from tests.api.faults import FAULTS, Faulty
from tests.api.refusals import refusals, refused_parts

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


async def test_each_operation_refuses_as_documented(
    openapi: Document, faulty: Faulty
) -> None:
    used: set[str] = set()
    for method, path, pointer, status, cause in refusals(openapi):
        values = {"{token}": faulty.token, "{code}": "bob", "{slug}": "ten"}
        for name, value in values.items():
            path = path.replace(name, value)
        answer = await cause(faulty, method, path)
        faulty.repair()
        where = f"{method} {path}: {answer.status} {answer.body[:200]!r}"
        assert documented_status(openapi, pointer, answer) == status, where
        assert list(faults(openapi, answer)) == [], where
        used.update(used_parts(openapi, answer))
    assert refused_parts(openapi) - used == set()


def test_each_name_of_a_field_is_documented(openapi: Document) -> None:
    fix = openapi.at("#/components/schemas/Fix")
    assert fix["properties"].keys() == KNOWN_NAMES
    for app, names in {"generic": set(), "osmand": {"unit", "valid"}}.items():
        pointer = f"#/paths/~1intake~1{app}~1{{token}}~1/get"
        query = {name for kind, name in parameters(openapi, pointer) if kind == "query"}
        assert query == KNOWN_NAMES | names


def test_each_endpoint_is_documented(openapi: Document) -> None:
    """Views that reply to programs and endpoints of apps, without exception."""
    paths = {re.sub(r"\{(\w+)\}", r"<\1>", path) for _, path, _ in operations(openapi)}
    methods = {(method, path) for method, path, _ in operations(openapi)}
    for name, app in APPS.items():
        for method in app.methods:
            assert (method, f"/intake/{name}/{{token}}/") in methods
    for route in routes():
        if not NOT_FOR_PROGRAMS.match(route):
            assert "/" + re.sub(r"<\w+:", "<", route) in paths


def routes() -> Iterator[str]:
    for pattern in get_resolver("runners.urls").url_patterns:
        yield str(pattern.pattern)
