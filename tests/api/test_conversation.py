"""docs/asyncapi.yaml and openapi.yaml describe exactly what the server sends."""

from __future__ import annotations

import re

import pytest

from tests.api import answers, frames
from tests.api.capture import Capture
from tests.api.documents import Document
from tests.api.faults import FAULTS
from tests.api.refusals import refused_parts
from tests.servers import ROOT

# Codes whose fault is hard to cause here, with the test that causes it.
TESTED_SEPARATELY = {
    "#/components/schemas/TypedErrorCode cheer.lost": (
        "tests/consumers/test_processes.py"
    ),
    "#/components/messages/splitEvent/payload/properties/withdrawn": (
        "tests/positions/test_running.py"
    ),
}


def test_each_scenario_succeeds(capture: Capture) -> None:
    assert not capture.failed, "\n".join(capture.failed)


def test_each_frame_of_the_server_is_documented(
    asyncapi: Document, capture: Capture
) -> None:
    found = frames.undocumented(asyncapi, "send", capture.received)
    assert not found, "\n".join(found)


def test_the_server_sends_everything_that_is_documented(
    asyncapi: Document, capture: Capture
) -> None:
    missing = (
        frames.unseen(asyncapi, "send", capture.received) - TESTED_SEPARATELY.keys()
    )
    assert not missing, "\n".join(sorted(missing))


def test_all_messages_of_clients_are_documented_and_accepted(
    asyncapi: Document, capture: Capture
) -> None:
    found = frames.undocumented(asyncapi, "receive", capture.sent)
    assert not found, "\n".join(found)
    missing = frames.unseen(asyncapi, "receive", capture.sent)
    assert not missing, "\n".join(sorted(missing))


def test_each_message_type_that_the_server_accepts_is_documented(
    asyncapi: Document, capture: Capture
) -> None:
    (accepted,) = {
        message["detail"].removeprefix("`type` is one of ").removesuffix(".")
        for _, message in capture.received
        if message.get("code") == "message.unknown"
    }
    pointers = frames.messages(asyncapi, "typed", "receive").values()
    types = {
        asyncapi.at(pointer)["properties"]["type"]["const"] for pointer in pointers
    }
    assert types == set(accepted.split(", "))


def test_the_server_closes_with_the_documented_codes(
    asyncapi: Document, capture: Capture
) -> None:
    assert capture.closes == set(map(int, asyncapi.content["x-close-codes"]))


@pytest.mark.parametrize(("part", "path"), TESTED_SEPARATELY.items())
def test_parts_that_need_a_fault_are_tested(part: str, path: str) -> None:
    name = re.split("[ /]", part)[-1]
    assert f'"{name}"' in (ROOT / path).read_text()


def test_each_response_is_documented(openapi: Document, capture: Capture) -> None:
    found = {
        f"{answer.method} {answer.path}?{answer.query} {answer.status} "
        f"{answer.body[:200]!r}: {fault}"
        for answer in capture.answers
        for fault in answers.faults(openapi, answer)
    }
    assert not found, "\n".join(sorted(found))


def test_each_documented_response_occurs(openapi: Document, capture: Capture) -> None:
    seen = {
        part
        for answer in capture.answers
        if not any(answers.faults(openapi, answer))
        for part in answers.used_parts(openapi, answer)
    }
    separate = FAULTS.keys() | refused_parts(openapi)
    missing = set(answers.documented(openapi)) - seen - separate
    assert not missing, "\n".join(sorted(missing))
