"""Messages that are not as declared: which error they get, and with which `id`."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from runners.consumers.messages import Refused, decode, refused


def refuse(text: str) -> Refused:
    with pytest.raises((msgspec.DecodeError, RecursionError)) as error:
        decode(text)
    return refused(orjson.loads(text), error.value)


@pytest.mark.parametrize(
    ("text", "code", "detail"),
    [
        ('{"type": "dance"}', "message.unknown", "`type` is one of auth, follow, "),
        ('{"type": ["ping"]}', "message.unknown", "`type` is one of"),
        ('{"runners": []}', "message.unknown", "`type` is one of"),
        ('{"type": "auth"}', "message.invalid", "missing required field `token`"),
        ('{"type": "follow", "since": 1.5}', "message.invalid", "`$.since`"),
        ('{"type": "follow", "since": -1}', "message.invalid", "`$.since`"),
        ('{"type": "follow", "tick": -1}', "message.invalid", "`$.tick`"),
        ('{"type": "follow", "share": null}', "message.invalid", "`$.share`"),
        ('{"type": "publish"}', "publish.invalid", "`fixes`"),
        ('{"type": "publish", "fixes": []}', "publish.invalid", "length >= 1"),
        ('{"type": "publish", "id": []}', "message.invalid", "`$.id`"),
        ('{"type": "cheer", "text": "Go"}', "runner.invalid", "`runner`"),
        ('{"type": "cheer", "runner": 7}', "cheer.invalid", "`text`"),
        ('{"type": "sos", "id": 7, "time": 1}', "sos.invalid", "`$.id`"),
        ('{"type": "sos", "id": "\\u0000", "time": 1}', "sos.invalid", "`$.id`"),
        ('{"type": "sos", "id": "a", "time": "1"}', "sos.invalid", "`$.time`"),
    ],
)
def test_a_refusal_names_the_field(text: str, code: str, detail: str) -> None:
    error = refuse(text).error
    assert error.code == code
    assert detail in error.detail


@pytest.mark.parametrize(
    ("id_", "repeated"),
    [
        ("a", "a"),
        (1.5, 1.5),
        (None, None),
        ([], msgspec.UNSET),
        ("x" * 201, msgspec.UNSET),
    ],
)
def test_a_refusal_repeats_only_a_valid_id(id_: Any, repeated: Any) -> None:
    message = refuse(orjson.dumps({"type": "auth", "id": id_}).decode())
    assert message.id == repeated


def test_a_refused_message_counts_the_runners_and_races_that_it_names() -> None:
    message = refuse('{"type": "follow", "runners": [1, 2], "races": "x", "tick": -1}')
    assert message.named == ([1, 2], "x")


def test_a_call_for_help_needs_only_its_id_and_time() -> None:
    message = decode('{"type": "sos", "id": "a", "time": 1, "fix": 7, "battery": []}')
    assert message.id == "a"
