"""The messages that clients of `spectate.v1` send, declared once.

A message that is not as declared is refused. Fields that are `Any`, or lists of it, are
checked by their command, so that one bad item does not refuse the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError

from runners.live.encoding.fields import (
    AnySlug,
    OptionalId,
    SafeTime,
    WireId,
    invalid_field,
)
from runners.live.encoding.typed_dialect import DEFAULT_TICK_MS, TICKS_MS
from runners.units.errors import CodedError

# Limit of the fixes in one `publish`.
PUBLISH_LIMIT = 500
_ANY_FIX = {"items": {"$ref": "#/components/schemas/Fix"}}


ShareToken = Annotated[str, Meta(description="The token of a share link.")]
Since = Annotated[
    SafeTime,
    Meta(description="The time up to which the client has received everything."),
]
Tick = Annotated[
    float,
    Meta(
        description="Milliseconds during which positions are collected for a frame. "
        f"Rounded up to {', '.join(map(str, TICKS_MS))}; {DEFAULT_TICK_MS} by default.",
        ge=0,
    ),
]


class Message(Struct, tag_field="type", kw_only=True):
    id: OptionalId = UNSET

    # The codes of errors in fields, where it is not `message.invalid`.
    codes: ClassVar[Mapping[str, str]] = {}

    @property
    def named(self) -> tuple[Any, ...]:
        """Return the lists of runners and races that the message names."""
        return ()


class Auth(Message, tag="auth"):
    """Authenticates as the runner of a token."""

    token: str


class Followed(Message):
    runners: list[WireId] = []
    races: list[AnySlug] = []
    public: Annotated[bool, Meta(description="All public runners, also later.")] = False

    @property
    def named(self) -> tuple[Any, ...]:
        return self.runners, self.races


class Follow(Followed, tag="follow"):
    """Follows runners and topics; the reply has those newly followed."""

    share: ShareToken | UnsetType = UNSET
    pin: Annotated[str, Meta(description="The PIN of the link.")] = ""
    since: Since | None = None
    tick: Tick | None = None


class Unfollow(Followed, tag="unfollow"):
    """Ends subscriptions."""


class Publish(Message, tag="publish"):
    """Publishes positions of the token's runner."""

    codes = {"fixes": "publish.invalid"}

    fixes: Annotated[
        list[Any],
        Meta(min_length=1, max_length=PUBLISH_LIMIT, extra_json_schema=_ANY_FIX),
    ]


class Cheer(Message, tag="cheer"):
    """Sends a few words to a runner."""

    codes = {"runner": "runner.invalid", "text": "cheer.invalid"}

    runner: WireId
    text: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 80})]


class Sos(Message, tag="sos"):
    """Calls for help for the token's runner, or withdraws the call."""

    codes = {"id": "sos.invalid", "time": "sos.invalid"}

    id: Annotated[
        str,
        Meta(
            description="Identifies the call when it is sent again.",
            min_length=1,
            max_length=64,
            pattern=r"^[^\0]*$",
        ),
    ]
    time: Annotated[SafeTime, Meta(description="When the runner called.")]
    fix: Annotated[Any, Meta(extra_json_schema=_ANY_FIX["items"])] = None
    battery: Annotated[
        Any,
        Meta(
            description="Per cent.",
            extra_json_schema={"type": "number", "minimum": 0, "maximum": 100},
        ),
    ] = None
    fine: Annotated[
        Any,
        Meta(
            description="The runner withdraws the call.",
            extra_json_schema={"type": "boolean"},
        ),
    ] = False


class Ping(Message, tag="ping"):
    """Requests a `pong` with all fields of the message."""


class Echo(Ping):
    """A `Ping` with all its fields."""

    fields: dict[str, Any]


class Refused(Message):
    """A JSON object that is none of the messages."""

    error: CodedError
    names: tuple[Any, ...]

    @property
    def named(self) -> tuple[Any, ...]:
        return self.names


ClientMessage = Auth | Follow | Unfollow | Publish | Cheer | Sos | Ping
_BY_TYPE: dict[Any, type[Message]] = {
    message.__struct_config__.tag: message for message in get_args(ClientMessage)
}
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


def decode(text: str) -> ClientMessage:
    """Parse a message; raises `msgspec.DecodeError` and `RecursionError`."""
    return _decoder.decode(text)


def refused(fields: dict[str, Any], error: Exception) -> Refused:
    """Return why a JSON object is none of the messages, for its reply."""
    id_ = fields.get("id", UNSET)
    try:
        msgspec.convert(id_, OptionalId)
    except ValidationError:
        id_ = UNSET
    names = fields.get("runners"), fields.get("races")
    return Refused(id=id_, error=_error_of(fields.get("type"), error), names=names)


def _error_of(type_: object, error: Exception) -> CodedError:
    if not isinstance(error, ValidationError):
        return CodedError("message.invalid", "The message is nested too deeply.")
    message = _BY_TYPE.get(type_) if isinstance(type_, str) else None
    if message is None:
        return CodedError("message.unknown", f"`type` is one of {', '.join(_BY_TYPE)}.")
    code = message.codes.get(invalid_field(error), "message.invalid")
    return CodedError(code, f"{error}.")
