"""Real payloads of each app, on both servers: stored positions and replies."""

from __future__ import annotations

import contextlib

import pytest

from tests.intake.payloads import (
    generic,
    gpslogger,
    osmand,
    overland,
    owntracks,
    traccar,
    traccar_client,
)
from tests.intake.payloads.case import JSON, Case
from tests.intake.phones import Phone
from tests.servers import Server

CASES = [
    *owntracks.CASES,
    *overland.CASES,
    *traccar_client.CASES,
    *osmand.CASES,
    *gpslogger.CASES,
    *generic.CASES,
    *traccar.CASES,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_payload_is_stored_and_answered(phone: Phone, case: Case) -> None:
    answer = phone.send(case.path, case.data, method=case.method, headers=case.headers)
    assert (answer.status, answer.body) == (case.status, case.reply)
    source = case.path.split("/")[2].partition("?")[0] + " mock" * case.mock
    assert phone.stored() == [
        pytest.approx(fix | {"source": source}) for fix in case.stored
    ]


def test_app_and_refusals_are_recorded_by_token(phone_server: Server) -> None:
    accepted = [case for case in CASES if case.status == 200]
    with contextlib.ExitStack() as stack:
        sent = [(stack.enter_context(Phone(phone_server)), case) for case in accepted]
        for phone, case in sent:
            phone.send(case.path, case.data, method=case.method, headers=case.headers)
        for phone, case in sent:
            activity = phone.activity()
            assert (case.name, activity["app"]) == (case.name, case.app)
            assert activity["accepted"] == len(case.stored)
            assert (case.name, activity["reasons"]) == (case.name, case.reasons)
            assert activity["refused"] == sum(case.reasons.values())
            assert bool(activity["last_reason"]) == bool(case.reasons)


def test_a_traccar_device_may_have_the_token_as_an_attribute(phone: Phone) -> None:
    device = {"id": 3, "attributes": {"spectateToken": phone.token}}
    forwarded = traccar.FORWARDED | {"device": device}
    answer = phone.send_json("/intake/traccar/", forwarded, **JSON)
    assert (answer.status, answer.body) == (200, b"")
    assert len(phone.stored()) == 1
