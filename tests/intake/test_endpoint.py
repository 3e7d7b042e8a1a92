"""Tokens, slashes, bodies and repeated batches, which all apps share."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from datetime import UTC, datetime

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from runners.models import LatestPosition, RunnerToken
from runners.rights import token_cache
from tests.intake.payloads.overland import FEATURE, feature
from tests.intake.payloads.owntracks import FULL, LOCATION
from tests.intake.phones import MS, SECONDS, Phone
from tests.servers import Server
from tests.waiting import wait_until

POINT = f"lat=53.3566&lon=-6.3285&timestamp={SECONDS}"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def change_token(phone: Phone, **fields: datetime) -> None:
    """Change the token without a `RightsChange` row, which servers would follow."""
    phone.server.database(QuerySet(RunnerToken).filter(pk=phone.pk).update, **fields)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/intake/generic{}?" + POINT, {"Authorization": "Bearer TOKEN"}),
        ("/intake/generic{}?" + POINT, {"authorization": "bearer  TOKEN"}),
        ("/intake/generic{}?" + POINT, {"Authorization": "Basic BASIC"}),
        ("/intake/generic/TOKEN{}?" + POINT, {}),
        ("/intake/generic{}?token=TOKEN&" + POINT, {}),
        # An empty password is ignored: the path has the token.
        ("/intake/generic/TOKEN{}?" + POINT, {"Authorization": "Basic Ym9iOg=="}),
    ],
)
def test_a_token_is_accepted_in_each_way(
    phone: Phone, path: str, slash: str, headers: dict[str, str]
) -> None:
    answer = phone.send(path.format(slash), method="GET", headers=headers)
    assert (answer.status, answer.json()["stored"]) == (200, 1)
    assert len(phone.stored()) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Digest TOKEN"},
    ],
)
def test_a_wrong_token_is_401_and_stores_nothing(
    phone: Phone, headers: dict[str, str]
) -> None:
    answer = phone.send(f"/intake/generic/?{POINT}", method="GET", headers=headers)
    assert answer.status == 401
    assert answer.json()["error"] == "token.invalid"
    assert phone.stored() == []


def test_replies_to_wrong_tokens_are_delayed_longer_each_time(phone: Phone) -> None:
    def request(token: str) -> tuple[int, float]:
        started = time.monotonic()
        status = phone.send(f"/intake/generic/{token}/?{POINT}", method="GET").status
        return status, time.monotonic() - started

    # A request without a token does not count as a guess.
    assert phone.send(f"/intake/generic/?{POINT}", method="GET").status == 401
    guesses = [request(f"guess-{n}") for n in range(3)]
    assert {status for status, _ in guesses} == {401}
    assert [waited >= 0.1 * 2**n for n, (_, waited) in enumerate(guesses)] == [True] * 3
    assert request("TOKEN")[0] == 200


def test_names_in_a_payload_do_not_identify_the_runner(phone: Phone) -> None:
    message = LOCATION | {"topic": "owntracks/charlie/phone", "tid": "ch"}
    headers = {"Authorization": f"Bearer {phone.token}", "X-Limit-U": "charlie"}
    assert phone.send_json("/intake/owntracks/", message, **headers).status == 200
    assert phone.stored() == [FULL | {"source": "owntracks"}]


def test_a_revoked_token_is_refused_within_a_second(phone: Phone) -> None:
    path = "/intake/generic/TOKEN/?" + POINT
    assert phone.send(path, method="GET").status == 200
    change_token(phone, revoked_at=timezone.now())
    assert token_cache.LIFE_S < 1
    wait_until(lambda: phone.send(path, method="GET").status == 401)
    # The race office sees that the phone still sends.
    wait_until(lambda: phone.activity()["reasons"].get("token.ended"))


def test_an_expired_token_is_refused(phone: Phone) -> None:
    change_token(phone, expires_at=LONG_AGO)
    assert phone.send("/intake/generic/TOKEN/?" + POINT, method="GET").status == 401


def test_a_repeated_batch_is_stored_once(phone: Phone) -> None:
    batch = {"locations": [feature(n) for n in range(5)]}
    for _time in range(3):
        answer = phone.send_json("/intake/overland/TOKEN/", batch)
        assert answer.json() == {"result": "ok"}
    assert [fix["t"] for fix in phone.stored()] == [MS + n * 1000 for n in range(5)]


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_body_is_accepted(
    phone: Phone, encoding: str, compress: object
) -> None:
    assert callable(compress)
    body = compress(json.dumps({"locations": [FEATURE]}).encode())
    answer = phone.send(
        "/intake/overland/TOKEN", body, headers={"Content-Encoding": encoding}
    )
    assert answer.json() == {"result": "ok"}
    assert len(phone.stored()) == 1


BOMB = gzip.compress(b" " * 50_000_000, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", b"no gzip at all", "message.invalid"),
        ("gzip", gzip.compress(b"{}" * 1000, mtime=0)[:-9], "message.invalid"),
        ("gzip", BOMB, "message.too_big"),
        ("br", b"anything", "message.invalid"),
    ],
)
def test_an_unusable_body_is_accepted_so_that_the_app_drops_it(
    phone: Phone, encoding: str, body: bytes, code: str
) -> None:
    headers = {"Content-Encoding": encoding}
    answer = phone.send("/intake/overland/TOKEN", body, headers=headers)
    assert (answer.status, answer.json()["result"]) == (200, "ok")
    assert answer.json()["refused"][0][1] == code
    answer = phone.send("/intake/owntracks/TOKEN", body, headers=headers)
    assert (answer.status, answer.body) == (200, b"[]")
    assert phone.stored() == []


def test_a_multipart_form_is_read_and_a_broken_one_is_answered(phone: Phone) -> None:
    part = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    parts = (part.format(*field.split("=")) for field in POINT.split("&"))
    body = "--x\r\n" + "--x\r\n".join(parts) + "--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = phone.send("/intake/generic/TOKEN/", body.encode(), headers=kind)
    assert answer.json() == {"stored": 1, "rejected": []}
    answer = phone.send("/intake/generic/TOKEN/", b"--", headers=kind)
    assert (answer.status, answer.json()["error"]) == (400, "message.invalid")


def test_a_body_of_eight_mebibytes_is_accepted(phone: Phone) -> None:
    batch = json.dumps({"locations": [feature(n) for n in range(60)]}).encode()
    answer = phone.send("/intake/overland/TOKEN", batch.ljust(8 * 1024 * 1024))
    assert answer.json() == {"result": "ok"}
    assert len(phone.stored()) == 60
    answer = phone.send("/intake/overland/TOKEN", b" " * (8 * 1024 * 1024 + 1))
    assert answer.status == 413
    assert b"8 MiB at most." in answer.body


def test_a_heartbeat_updates_the_contact_time_without_a_position(phone: Phone) -> None:
    phone.send("/intake/generic/TOKEN/?" + POINT, method="GET")
    # Activity of the same second is written together; a separate second is needed.
    phone.activity()
    latest = LatestPosition.objects.all()
    phone.server.database(latest.update, contact_at=LONG_AGO)
    phone.send("/intake/osmand/TOKEN/?id=1&batt=50", method="GET")
    newer = latest.filter(contact_at__gt=LONG_AGO)
    wait_until(lambda: phone.server.database(newer.exists))
    assert len(phone.stored()) == 1


def test_unknown_methods_and_paths_are_refused(phone: Phone) -> None:
    answer = phone.send("/intake/owntracks/TOKEN", method="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    for path in ("/intake/", "/intake/nokia/TOKEN", "/intake/osmand/TOKEN/more/"):
        assert phone.send(path, b"x").status == 404


def test_a_gpslogger_profile_contains_the_token(phone: Phone) -> None:
    path = "/intake/gpslogger/TOKEN/spectate.properties"
    answer = phone.send(path, method="GET")
    assert answer.status == 200
    lines = answer.body.decode().splitlines()
    assert f"log_customurl_basicauth_password={phone.token}" in lines
    answer = phone.send("/intake/gpslogger/a%0Ab/spectate.properties", method="GET")
    assert answer.status == 404


def test_the_log_shows_no_token_and_no_position(phone_server: Server) -> None:
    with Phone(phone_server) as phone:
        phone.send("/intake/osmand/TOKEN/?" + POINT, method="GET")
        phone.send("/intake/generic?token=TOKEN&" + POINT, method="GET")
        phone.send("/intake/nokia//TOKEN/x", method="GET")
        phone.send_json("/intake/owntracks/TOKEN", LOCATION)
    wait_until(lambda: "/intake/owntracks/***" in phone_server.log)
    for secret in (phone.token, "53.35", "6.3285"):
        assert secret not in phone_server.log
