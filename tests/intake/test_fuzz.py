"""No request causes a 5xx or affects the next one."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.intake.payloads.overland import FEATURE
from tests.intake.payloads.owntracks import LOCATION
from tests.intake.payloads.traccar import FORWARDED
from tests.intake.payloads.traccar_client import NINE, OLD
from tests.intake.phones import Phone
from tests.servers import Server

APPS = ("owntracks", "overland", "osmand", "gpslogger", "generic", "traccar")

strange = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**18), 2**53, 1e308, -0.0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        ["NaN", "inf", "1e999", "null", "0x10", "9" * 5000, "\0", "\ud800"]
    ),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "T"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def mutated(value: Any) -> st.SearchStrategy[Any]:
    """Return payloads whose parts may have any value."""
    if isinstance(value, dict):
        parts = st.fixed_dictionaries(
            {}, optional={key: mutated(part) for key, part in value.items()}
        )
        return st.one_of(st.just(value), parts, strange)
    if isinstance(value, list):
        return st.one_of(st.lists(mutated(value[0]), max_size=3), strange)
    return st.one_of(st.just(value), strange)


MESSAGES = st.one_of(
    mutated(LOCATION),
    mutated([LOCATION]),
    mutated({"locations": [FEATURE], "current": FEATURE}),
    mutated(NINE),
    mutated([OLD]),
    mutated(OLD),
    mutated(FORWARDED),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    MESSAGES.map(lambda value: json.dumps(value).encode()),
    mutated(OLD)
    .filter(lambda value: isinstance(value, dict))
    .map(lambda value: urlencode(value, errors="replace").encode()),
    st.integers(2, 3000).map(lambda depth: b"[" * depth + b"]" * depth),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "application/x-www-form-urlencoded",
                "text/plain",
                "\xff",
            ]
        ),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "gzip, gzip"]),
        "Authorization": st.sampled_from(["Basic", "Basic \xff", "Bearer ", "a" * 500]),
        "User-Agent": st.text(
            st.characters(min_codepoint=32, max_codepoint=255), max_size=60
        ).map(str.strip),
    },
)


@pytest.fixture(scope="module")
def bob(phone_server: Server) -> Iterator[Phone]:
    with Phone(phone_server) as phone:
        yield phone


@given(
    app=st.sampled_from(APPS),
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE"]),
    query=st.one_of(
        st.just(""),
        st.text(max_size=30).map(lambda text: quote(text, errors="replace")),
        st.dictionaries(st.sampled_from(sorted(OLD)), st.text(max_size=10)).map(
            lambda fields: urlencode(fields, errors="replace")
        ),
    ),
    headers=HEADERS,
    body=BODIES,
)
@settings(
    max_examples=4 * settings().max_examples,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_causes_a_5xx(
    bob: Phone, app: str, method: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    connection = bob.connection

    def request() -> http.client.HTTPResponse:
        connection.request(
            method, f"/intake/{app}/{bob.token}?{query}", body or None, encoded
        )
        response = connection.getresponse()
        response.read()
        return response

    was_open = connection.sock is not None
    try:
        response = request()
    except (http.client.HTTPException, OSError):
        connection.close()
        # A server may disconnect on an invalid header, and closes connections that are
        # idle for 5 s; it does not disconnect on a body.
        if "\xff" in "".join(headers.values()):
            return
        assert was_open
        response = request()
    assert response.status in {200, 400, 401, 405}, response.status
    if response.status == 400:
        # The server itself rejects an invalid header, the generic endpoint what it does
        # not understand.
        connection.close()
        assert headers or app == "generic"


def test_a_valid_request_is_accepted_after_all_these(bob: Phone) -> None:
    bob.delete_positions()
    assert bob.send_json("/intake/owntracks/TOKEN", LOCATION).status == 200
    assert len(bob.stored()) == 1
    assert "Traceback" not in bob.server.log
