from __future__ import annotations

import json
from typing import Any

import pytest

from runners.live.encoding import seed_dialect, typed_dialect
from runners.live.encoding.frames import Frames
from runners.live.encoding.ids import MAX_NUMBER, RunnerIdError, code_of, wire_id_of
from runners.live.encoding.rows import fix_row
from runners.live.encoding.snapshots import (
    SNAPSHOT_PART_BYTES,
    snapshot_bodies,
    snapshot_frame,
)
from runners.live.events import Event, PositionAccepted, StatusChanged
from runners.live.websocket_framing import frame_text, text_frame


@pytest.mark.parametrize(
    ("wire_id", "code"),
    [
        (7, "7"),
        (0, "0"),
        ("007", "007"),
        ("Ann-e_1", "Ann-e_1"),
        (MAX_NUMBER, "9007199254740991"),
    ],
)
def test_an_id_is_compared_as_text(wire_id: Any, code: str) -> None:
    assert code_of(wire_id) == code


@pytest.mark.parametrize(
    "wire_id",
    [
        7.0,
        True,
        None,
        [7],
        {},
        "",
        "a" * 41,
        "a b",
        "ä",
        "٣",
        "7\n",
        -1,
        MAX_NUMBER + 1,
    ],
)
def test_other_values_are_no_ids(wire_id: Any) -> None:
    with pytest.raises(RunnerIdError):
        code_of(wire_id)


@pytest.mark.parametrize(
    ("code", "wire_id"),
    [
        ("7", 7),
        ("0", 0),
        ("007", "007"),
        ("-1", "-1"),
        ("9007199254740991", 9007199254740991),
        ("9007199254740992", "9007199254740992"),
        ("anne", "anne"),
    ],
)
def test_a_canonical_decimal_code_is_sent_as_a_number(code: str, wire_id: Any) -> None:
    assert wire_id_of(code) == wire_id


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_text_frames_of_every_length_class_can_be_decoded(size: int) -> None:
    text = "x" * size
    assert frame_text(text_frame(text.encode())) == text


def test_a_seed_position_keeps_its_precision() -> None:
    event = PositionAccepted(7, "x", 1, 48.123456789012, -2, None, None, None)
    frame = frame_text(seed_dialect.encode(event))
    assert frame == '{"userId":"x","lat":48.123456789012,"lng":-2}'


def test_rows_are_rounded_and_unknown_values_are_null() -> None:
    row = fix_row(1, 48.1234567, -2.9876543, 3.14159, 359.6)
    assert row == (1, 48.12346, -2.98765, 3.14, 0, None)


def test_an_event_is_encoded_once_and_only_for_dialects_with_recipients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[Event] = []

    def encode(event: Event) -> bytes:
        encoded.append(event)
        return b"a frame"

    monkeypatch.setattr(typed_dialect, "encode", encode)
    monkeypatch.setattr(seed_dialect, "encode", encode)
    shared = Frames(StatusChanged(7, "bob", "started", 1))
    assert encoded == []
    assert [shared.for_typed() for _ in range(3)] == [b"a frame"] * 3
    assert encoded == [shared.event]


@pytest.mark.parametrize(
    ("wished", "tick"),
    [
        (0, 0),
        (1, 100),
        (250, 250),
        (251, 500),
        (999, 1000),
        (5001, 5000),
        (1e300, 5000),
    ],
)
def test_a_tick_is_rounded_up_to_a_supported_one(wished: float, tick: int) -> None:
    assert typed_dialect.tick_of(wished) == tick


def test_a_big_snapshot_is_split_without_loss() -> None:
    # Parts of items are enough here.
    runners: list[Any] = [{"code": str(n), "trail": "x" * 1000} for n in range(1000)]
    races: list[Any] = [{"slug": "r"}]
    bodies = snapshot_bodies(runners, races)
    assert len(bodies) > 3
    parts = [
        json.loads(frame_text(snapshot_frame(body, time=1, more=True)))
        for body in bodies
    ]
    assert [r["code"] for part in parts for r in part["runners"]] == [
        r["code"] for r in runners
    ]
    assert [r for part in parts for r in part["races"]] == races
    assert all(len(body) <= SNAPSHOT_PART_BYTES + 2000 for body in bodies)


def test_an_empty_snapshot_is_one_part() -> None:
    (body,) = snapshot_bodies([], [])
    assert json.loads(frame_text(snapshot_frame(body, time=1))) == {
        "type": "snapshot",
        "races": [],
        "runners": [],
        "time": 1,
    }
