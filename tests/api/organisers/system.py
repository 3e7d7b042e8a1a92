"""A client of /api/v1/ without a server, which compares each response to the schema.

And what it sends.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from runners.models import ApiKey, Race
from tests.api import answers
from tests.api.capture import Answer
from tests.api.documents import Document

PREFIX = "/api/v1"
START = "2027-04-03T08:00:00Z"
RACE = {"name": "Spring run", "start": START}
POINTS = "".join(f'<trkpt lat="{48 + n / 1000}" lon="2"/>' for n in range(100))
GPX = f'<gpx version="1.1" creator="x"><trk><trkseg>{POINTS}</trkseg></trk></gpx>'
OTHER_GPX = GPX.replace('lon="2"', 'lon="3"')


def make_key(
    account: User,
    *,
    race: Race | None = None,
    scope: str | None = None,
    can_write: bool = True,
    life: timedelta = timedelta(days=1),
) -> tuple[ApiKey, str]:
    """Make a key: of a race, or else of its account's races."""
    return ApiKey.objects.issue(
        name="timing",
        account=account,
        expires_at=timezone.now() + life,
        scope=scope or ("organiser" if race is None else "race"),
        race=race,
        can_write=can_write,
    )


class System:
    """An organiser's system with a key."""

    def __init__(self, document: Document, key: str) -> None:
        self.document = document
        self._client = Client(headers={"authorization": f"Bearer {key}"})

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int | tuple[int, ...] = (200, 201),
        **headers: str,
    ) -> Any:
        """Send a request; return its body as JSON, with an unexpected status an error.

        `_` in the names of headers stands for `-`.
        """
        response = self.respond(method, path, body, **headers)
        wanted = (status,) if isinstance(status, int) else status
        assert response.status_code in wanted, response.content
        is_json = response.content and "json" in response["Content-Type"]
        return json.loads(response.content) if is_json else response.content

    def respond(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> HttpResponse:
        is_file = isinstance(body, str | bytes)
        type_ = "application/gpx+xml" if is_file else "application/json"
        # As a JSON text: Django's client would encode only some methods.
        data = body if is_file or body is None else json.dumps(body)
        response: Any = self._client.generic(
            *(method, PREFIX + path, data or "", type_),
            headers={name.replace("_", "-"): v for name, v in headers.items()},
        )
        self._check(method, path, response)
        return response  # type: ignore[no-any-return]

    def _check(self, method: str, path: str, response: Any) -> None:
        where, _, query = path.partition("?")
        lower = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(
            *(method, PREFIX + where, query, response.status_code, lower),
            response.content,
        )
        faults = list(answers.faults(self.document, answer))
        assert faults == [], (method, path, response.content)


def rows(*bibs: str, **more: Any) -> dict[str, Any]:
    return {"entries": [{"bib": bib, "name": f"Runner {bib}"} | more for bib in bibs]}


def refused(
    system: System, method: str, path: str, body: Any = None, **options: Any
) -> tuple[str, list[str]]:
    """Return the code of a refusal, and the places of its errors."""
    problem = system.send(method, path, body, **options)
    assert problem["detail"]
    return problem["code"], [error["at"] for error in problem["errors"]]
