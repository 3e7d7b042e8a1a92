"""SOS buttons of phone apps and trackers, which call for help with a position."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from runners.models import News, Sos
from runners.models.news import Kind
from tests.factories.people import make_phone
from tests.intake.payloads.case import FORM, JSON, Case
from tests.intake.payloads.traccar import forwarded
from tests.intake.payloads.traccar_client import OLD, nine
from tests.intake.phones import MS, SECONDS, Phone

ALARM = OLD | {"alarm": "sos"}
OSMAND = "/intake/osmand/TOKEN"
TRACCAR = "/intake/traccar/TOKEN/"
POSITION = (53.3566, -6.3285)
MOMENT = datetime.fromtimestamp(SECONDS, UTC)


def tracker(alarm: str, **changes: Any) -> dict[str, Any]:
    """The body that a Traccar server forwards when a tracker raises an alarm."""
    return forwarded(attributes={"batteryLevel": 81.0, "alarm": alarm}, **changes)


def posted(app: str, path: str, body: Any, headers: dict[str, str]) -> Case:
    return Case(app, path, body, headers=headers)


CALLS = [
    Case("traccar client 8", f"{OSMAND}?{urlencode(ALARM)}"),
    posted("traccar client 9", OSMAND, nine(extras={"alarm": "sos"}), JSON),
    posted("traccar client 10", OSMAND, urlencode(ALARM).encode(), FORM),
    posted("traccar client 10, a list", OSMAND, [OLD, ALARM], JSON),
    posted("traccar server", TRACCAR, tracker("sos"), JSON),
    posted("traccar server, two alarms", TRACCAR, tracker("lowBattery,sos"), JSON),
    posted("traccar server, old place", TRACCAR, tracker("sos", outdated=True), JSON),
    Case(
        "traccar server, url",
        f"{TRACCAR}?lat=53.3566&lon=-6.3285&time={MS}&valid=true&speed=6.0&attributes="
        "%7B%22alarm%22%3A%22sos%22%7D",
        method="GET",
    ),
    Case(
        "generic, a form",
        f"/intake/generic/TOKEN?lat=53.3566&lon=-6.3285&timestamp={SECONDS}&alarm=sos",
        method="GET",
    ),
    posted("generic, JSON", "/intake/generic/TOKEN", ALARM, JSON),
]
WITHOUT_POSITION = [
    posted(
        "traccar client 9",
        OSMAND,
        {"location": {"extras": {"alarm": "sos"}}, "device_id": "1"},
        JSON,
    ),
    posted("traccar client 10", OSMAND, b"id=1&alarm=sos&timestamp=soon", FORM),
    posted("traccar server, no fix", TRACCAR, tracker("sos", valid=False), JSON),
    Case("generic", "/intake/generic/TOKEN?alarm=sos", method="GET"),
]
NO_CALLS = [
    posted("traccar client 10", OSMAND, b"id=1&alarm=lowBattery", FORM),
    posted("traccar client 9", OSMAND, nine(extras=["sos"]), JSON),
    posted("traccar server", TRACCAR, tracker("lowBattery"), JSON),
    posted("traccar server, odd", TRACCAR, forwarded(attributes="sos"), JSON),
    Case("traccar server, url", f"{TRACCAR}?attributes=sos", method="GET"),
]


def by_name(case: Case) -> str:
    return case.name


@pytest.fixture(autouse=True)
def _no_calls(phone: Phone) -> None:
    phone.server.database(Sos.objects.all().delete)


def press(phone: Phone, case: Case) -> None:
    answer = phone.send(case.path, case.data, method=case.method, headers=case.headers)
    assert answer.status == 200


def calls(phone: Phone) -> list[Sos]:
    return phone.server.database(lambda: list(Sos.objects.order_by("called_at")))


@pytest.mark.parametrize("case", CALLS, ids=by_name)
def test_an_sos_button_is_a_call_with_its_position(phone: Phone, case: Case) -> None:
    press(phone, case)
    (call,) = calls(phone)
    assert (call.lat, call.lng) == POSITION
    assert call.called_at == call.placed_at == MOMENT
    kind = phone.server.database(lambda: News.objects.filter(sos=call).get().kind)
    assert kind == Kind.SOS
    # It is stored as a position too, unless it is older than a stored one.
    assert len(phone.stored()) == ("old place" not in case.name)


@pytest.mark.parametrize("case", WITHOUT_POSITION, ids=by_name)
def test_an_sos_button_without_a_position_is_a_call(phone: Phone, case: Case) -> None:
    press(phone, case)
    (call,) = calls(phone)
    assert (call.lat, call.lng) == (None, None)
    assert call.called_at <= timezone.now()


@pytest.mark.parametrize("case", NO_CALLS, ids=by_name)
def test_other_alarms_are_not_calls(phone: Phone, case: Case) -> None:
    press(phone, case)
    assert calls(phone) == []


def test_repeated_alarms_are_one_call_with_the_newest_position(phone: Phone) -> None:
    for seconds in (0, 0, 20, 10):
        form = ALARM | {"timestamp": SECONDS + seconds, "lat": 53 + seconds / 100}
        press(phone, posted("10", OSMAND, urlencode(form).encode(), FORM))
    (call,) = calls(phone)
    assert (call.called_at, call.lat) == (MOMENT, 53.2)


def test_an_alarm_after_a_closed_call_is_a_new_call(phone: Phone) -> None:
    def closed() -> None:
        Sos.objects.update(closed_at=MOMENT + timedelta(seconds=60))

    for seconds in (0, 30, 90):
        form = ALARM | {"timestamp": SECONDS + seconds}
        press(phone, posted("10", OSMAND, urlencode(form).encode(), FORM))
        phone.server.database(closed)
    assert [call.called_at - MOMENT for call in calls(phone)] == [
        timedelta(0),
        timedelta(seconds=90),
    ]


def test_an_alarm_of_a_clock_that_is_ahead_is_a_call(phone: Phone) -> None:
    form = ALARM | {"timestamp": SECONDS + 300_000_000}
    press(phone, posted("10", OSMAND, urlencode(form).encode(), FORM))
    (call,) = calls(phone)
    assert (call.lat, call.lng) == POSITION
    assert call.called_at <= timezone.now()
    assert phone.stored() == []


def test_an_alarm_is_accepted_beyond_the_rate_limit(phone: Phone) -> None:
    # The limit is per runner, and the other tests of this file share Bob's.
    path = f"/intake/osmand/{phone.server.database(make_phone, 'eve')}"
    many = [OLD | {"timestamp": SECONDS + n} for n in range(6_000)]
    # A batch over the burst is accepted when the runner's bucket is full.
    assert phone.send_json(path, many).status == 200
    assert phone.send_json(path, [*many, ALARM]).status == 429
    assert len(calls(phone)) == 1
