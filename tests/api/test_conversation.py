"""docs/asyncapi.yaml and openapi.yaml say what the server says: no less, no more."""

from __future__ import annotations

import pytest

from tests.api import answers, frames
from tests.api.capture import Capture
from tests.api.documents import Document
from tests.api.faults import FAULTS
from tests.servers import ROOT

# Only a fault provokes it, here too hard to make: the test that does.
ELSEWHERE = {
    "#/components/schemas/TypedErrorCode cheer.lost": (
        "tests/consumers/test_processes.py"
    ),
}


def test_each_scene_comes_to_its_end(capture: Capture) -> None:
    assert not capture.broken_off, "\n".join(capture.broken_off)


def test_each_frame_of_the_server_is_documented(
    asyncapi: Document, capture: Capture
) -> None:
    found = frames.undocumented(asyncapi, "send", capture.received)
    assert not found, "\n".join(found)


def test_the_server_says_all_that_is_documented(
    asyncapi: Document, capture: Capture
) -> None:
    never_said = frames.unseen(asyncapi, "send", capture.received) - ELSEWHERE.keys()
    assert not never_said, "\n".join(sorted(never_said))


def test_what_clients_say_is_documented_and_all_of_it_is_taken(
    asyncapi: Document, capture: Capture
) -> None:
    found = frames.undocumented(asyncapi, "receive", capture.said)
    assert not found, "\n".join(found)
    never_said = frames.unseen(asyncapi, "receive", capture.said)
    assert not never_said, "\n".join(sorted(never_said))


def test_each_message_that_the_server_takes_is_documented(
    asyncapi: Document, capture: Capture
) -> None:
    (taken,) = {
        message["detail"].removeprefix("`type` is one of ").removesuffix(".")
        for _, message in capture.received
        if message.get("code") == "message.unknown"
    }
    places = frames.messages(asyncapi, "typed", "receive").values()
    types = {asyncapi.at(place)["properties"]["type"]["const"] for place in places}
    assert types == set(taken.split(", "))


def test_the_server_closes_with_the_documented_codes(
    asyncapi: Document, capture: Capture
) -> None:
    assert capture.closes == asyncapi.content["x-close-codes"].keys()


@pytest.mark.parametrize(("part", "path"), ELSEWHERE.items())
def test_what_only_a_fault_provokes_is_tested_elsewhere(part: str, path: str) -> None:
    code = part.rpartition(" ")[2]
    assert f'"{code}"' in (ROOT / path).read_text()


def test_each_answer_is_documented(openapi: Document, capture: Capture) -> None:
    found = {
        f"{answer.method} {answer.path}?{answer.query} {answer.status} "
        f"{answer.body[:200]!r}: {fault}"
        for answer in capture.answers
        for fault in answers.faults(openapi, answer)
    }
    assert not found, "\n".join(sorted(found))


def test_all_that_is_documented_is_answered(
    openapi: Document, capture: Capture
) -> None:
    seen = {
        part
        for answer in capture.answers
        if not any(answers.faults(openapi, answer))
        for part in answers.shown(openapi, answer)
    }
    never_given = set(answers.documented(openapi)) - seen - FAULTS.keys()
    assert not never_given, "\n".join(sorted(never_given))
