"""The parts of an app's adapter: reports to readings, and results to replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import orjson
from django.core.exceptions import SuspiciousOperation
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from msgspec.structs import replace

from runners.intake.values import time_of
from runners.notifying.sos import Call
from runners.positions.fix import Fix
from runners.positions.validation import EARLIEST_MS, FixError, check_fix

# Limit of fixes per request. Apps that send batches stay under 1,000.
MOST_FIXES = 10_000
MOST_FIELDS = 200
# A form has one position. Decoding 8 MiB would block the event loop for a second.
MOST_FORM_BYTES = 64 * 1024
UNKNOWN_APP = "Unknown app"
# The index of an error of the whole report, in place of that of a fix.
WHOLE = -1


@dataclass(frozen=True, slots=True)
class Report:
    """A request of a phone. `now`: the server's time, milliseconds since the epoch."""

    method: str
    query: dict[str, str]
    content_type: str
    user_agent: str
    body: bytes
    now: int

    def json(self) -> Any:
        """Parse the body as JSON; raises `FixError`."""
        try:
            return orjson.loads(self.body.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            pass
        try:
            # A device name in a wrong encoding is no reason to lose the position.
            return orjson.loads(self.body.decode(errors="replace"))
        except orjson.JSONDecodeError as error:
            raise FixError("message.invalid", f"Not JSON: {error}.") from None

    @property
    def is_json(self) -> bool:
        """Return whether the body is JSON, by its type or else its first character."""
        if self.content_type.lower().startswith("application/json"):
            return True
        return self.body[:64].lstrip()[:1] in (b"{", b"[")

    def fields(self) -> dict[str, str]:
        """Return the fields of the query string, then those of a form in the body.

        Raises `FixError` for a body that is no form, or too long.
        """
        if self.body.lstrip()[:1] == b"<":
            raise FixError("message.invalid", "XML is not read here: send JSON.")
        if len(self.body) > MOST_FORM_BYTES:
            raise FixError(
                "message.too_big", f"A form may have at most {MOST_FORM_BYTES:,} bytes."
            )
        if self.content_type.lower().startswith("multipart/form-data"):
            return self._parts() | self.query
        return fields_of(self.body.decode(errors="replace")) | self.query

    def _parts(self) -> dict[str, str]:
        head = {"CONTENT_TYPE": self.content_type, "CONTENT_LENGTH": len(self.body)}
        try:
            form, _ = MultiPartParser(head, BytesIO(self.body), []).parse()
        except (MultiPartParserError, SuspiciousOperation) as error:
            raise FixError("message.invalid", f"Not a form: {error}") from None
        return {str(name): str(form[name]) for name in form}


@dataclass(slots=True)
class Reading:
    """A parsed report: the app, its fixes and errors.

    `indices` are the indices of the fixes in the list that the app sent; -1 stands for
    Overland's `current`. A reading without fixes is a heartbeat. Without `is_activity`,
    it is no sign of life of the phone. `is_mock`: an app simulates its positions.
    """

    app: str = UNKNOWN_APP
    fixes: list[Fix | FixError] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    # The newest of several calls for help in one report.
    call: Call | None = None
    is_activity: bool = True
    is_mock: bool = False

    def add(self, index: int, read: Callable[..., Fix], *args: Any) -> Fix | None:
        """Add the fix that `read(*args)` returns, or its error; return the fix."""
        self.indices.append(index)
        try:
            fix = read(*args)
        except FixError as error:
            self.fixes.append(error)
            return None
        self.fixes.append(fix)
        return fix

    def add_mock(self, mock: Any) -> None:
        """Mark the report if an item's field for simulated positions is set."""
        self.is_mock |= str(mock).lower() in ("1", "true")

    def add_alarm(self, alarm: Any, time: Any, fix: Fix | None, now: int) -> None:
        """Add a call for help if an item's alarm is one, with the item's fix.

        `alarm` and `time` are as the app writes them. Neither a wrong clock nor a
        position that is not valid is a reason to lose the call.
        """
        if not (isinstance(alarm, str) and "sos" in alarm.lower().split(",")):
            return
        called = _time_of_call(time, now)
        if self.call is None or called >= self.call.called:
            fix = fix and _fix_of_call(fix, now)
            self.call = Call(f"alarm {called}", called, fix, None, fine=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a reading; refused fixes are (index, code, detail)."""

    stored: int
    rejected: Sequence[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


JSON = "application/json"


def json_reply(status: int, value: Any) -> Reply:
    return Reply(status, orjson.dumps(value), JSON)


def text_error(status: int, code: str, detail: str) -> Reply:
    """Return an error as one line of text."""
    return Reply(status, f"{detail}\n".encode())


def json_error(status: int, code: str, detail: str) -> Reply:
    """Return an error as JSON."""
    return json_reply(status, {"error": code, "detail": detail})


@dataclass(frozen=True, slots=True)
class App:
    """An app's adapter.

    `ok` is the reply if nothing has to be sent again, `error` the one if something has.
    `token_of_body` is for servers that forward for many runners.
    """

    methods: frozenset[str]
    read: Callable[[Report], Reading]
    ok: Callable[[Outcome], Reply]
    error: Callable[[int, str, str], Reply] = text_error
    token_of_body: Callable[[Report], str | None] | None = None


def _time_of_call(time: Any, now: int) -> int:
    try:
        called = time_of(time)
    except FixError:
        return now
    return now if called is None or called < EARLIEST_MS else min(called, now)


def _fix_of_call(fix: Fix, now: int) -> Fix | None:
    fix = replace(fix, t=min(fix.t, now))
    try:
        check_fix(fix, now)
    except FixError:
        return None
    return fix


def fields_of(text: str) -> dict[str, str]:
    """Parse a query string or a form; of repeated names, the first value counts."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def several(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the indices and objects of a list, or of a single object.

    An item that is not an object is replaced by an empty one. Raises `FixError` for too
    many.
    """
    items = value if isinstance(value, list) else [value]
    if len(items) > MOST_FIXES:
        raise FixError(
            "message.too_big", f"A message may have at most {MOST_FIXES:,} positions."
        )
    for index, item in enumerate(items):
        yield index, item if isinstance(item, dict) else {}
