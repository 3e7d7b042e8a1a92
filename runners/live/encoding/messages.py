"""The messages that the server sends in `spectate.v1`, declared once.

`positions` and `snapshot` are joined from rows and items that are encoded already; they
are declared here for the documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from runners.live.encoding.error_codes import FixErrorCode
from runners.live.encoding.fields import (
    Code,
    Latitude,
    Longitude,
    OptionalId,
    Slug,
    State,
    Time,
    one_of,
)
from runners.live.websocket_framing import text_frame

Metres = Annotated[float, Meta(description="Metres.")]
WholeMetres = Annotated[int, Meta(description="Metres.")]
PerCent = Annotated[int, Meta(description="Per cent.")]
AlongCourse = Annotated[float, Meta(description="Metres along the course.")]
PassNumber = Annotated[int, Meta(description="Counts the laps.", ge=1)]
Count = Annotated[int, Meta(ge=0)]
_ERROR_CODES = {
    "anyOf": [
        {"$ref": "#/components/schemas/ErrorCode"},
        {"$ref": "#/components/schemas/TypedErrorCode"},
    ]
}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}


class PositionRow(Struct, array_like=True):
    """The newest fix of a runner; unknown values are null."""

    code: Code
    t: Time
    lat: Latitude
    lng: Longitude
    speed: Annotated[float, Meta(description="Metres per second.")] | None
    heading: Annotated[int, Meta(description="Degrees.")] | None
    progress: Annotated[int, Meta(description="Metres along the course.")] | None
    uncertainty: (
        Annotated[
            int,
            Meta(
                description="Standard deviation of the progress, metres.",
                ge=0,
            ),
        ]
        | UnsetType
    ) = UNSET


if TYPE_CHECKING:
    # Items have them as tuples, which cost the garbage collector nothing.
    from runners.live.encoding.rows import EstimateNode, FixRow
else:

    class FixRow(Struct, array_like=True):
        """A row of `positions` without the code and the uncertainty."""

        t: Time
        lat: Latitude
        lng: Longitude
        speed: Annotated[float, Meta(description="Metres per second.")] | None
        heading: Annotated[int, Meta(description="Degrees.")] | None
        progress: Annotated[int, Meta(description="Metres along the course.")] | None

    class EstimateNode(Struct, array_like=True):
        """Where a runner is estimated to be; clients interpolate between two nodes."""

        seconds: Annotated[int, Meta(description="Since the last mat.", ge=0)]
        progress: Annotated[int, Meta(description="Metres along the course.")]
        nearest: Annotated[int, Meta(description="The near end of the range, metres.")]
        farthest: Annotated[int, Meta(description="The far end of the range, metres.")]


LateRow = tuple[Time, Latitude, Longitude]


class Estimate(TypedDict):
    """Where a runner is from the last timing mat to the next one."""

    t: Annotated[int, Meta(description="When the last mat saw the runner.")]
    checkpoint: Annotated[int, Meta(description="That of the next mat.")]
    nodes: Annotated[
        tuple[EstimateNode, ...],
        Meta(description="In the order of time; the last one is at the next mat."),
    ]


class Runner(TypedDict):
    """A runner as they are now."""

    code: Code
    name: str
    bib: Annotated[str, Meta(description="In that race.")] | None
    colour: Annotated[str, Meta(pattern="^#[0-9A-Fa-f]{6}$")]
    state: State | None
    fix: FixRow | None
    accuracy: Annotated[int, Meta(description="Of that fix, metres.")] | None
    battery: Annotated[int, Meta(description="Of that fix, per cent.")] | None
    trail: Annotated[
        str,
        Meta(
            description="The last five minutes, an encoded polyline with five "
            "decimals; empty in a snapshot of more than 100 runners."
        ),
    ]
    race: (
        Annotated[
            str,
            Meta(description="The slug of that race."),
        ]
        | None
    )
    estimate: Annotated[
        Estimate | None,
        Meta(description="In place of a `fix` that is missing or old."),
    ]


class Course(TypedDict):
    """The line that a race runs along."""

    line: Annotated[
        str, Meta(description="An encoded polyline with five decimals; may be empty.")
    ]
    length: Metres


class Checkpoint(TypedDict):
    """A point of the course where a time is taken."""

    id: int
    name: str
    distance: AlongCourse
    kind: Annotated[str, one_of("start", "split", "finish")]
    lat: float | None
    lng: float | None


class Race(TypedDict):
    """A race with its course."""

    slug: Slug
    name: str
    start: Time
    ends: Time
    course: Course
    checkpoints: list[Checkpoint]


class Sent(Struct, tag_field="type", gc=False):
    pass


class Reply(Sent):
    id: OptionalId = UNSET


class Welcome(Reply, tag="welcome", kw_only=True):
    """Sent after the handshake and after `auth`."""

    time: Time
    runner: Annotated[str, Meta(description="The code of the token's runner.")] | None
    heartbeat: Annotated[
        int, Meta(description="Seconds; a frame is sent at least this often.")
    ]


class Snapshot(Reply, tag="snapshot", kw_only=True):
    """The runners and races newly followed, as they are now."""

    time: Time
    runners: list[Runner]
    races: list[Race]
    truncated: Annotated[
        list[Code],
        Meta(description="Runners whose gap is too long for this; fetch their tracks."),
    ]
    more: Annotated[bool, Meta(description="Whether another part follows.")]


class Unfollowed(Reply, tag="unfollowed", kw_only=True):
    """The follows that ended."""

    runners: list[Code]
    races: list[Slug]
    public: bool


class Positions(Sent, tag="positions"):
    """The newest position of each runner who moved; empty as a heartbeat."""

    time: Time
    merged: Annotated[
        int,
        Meta(description="Positions that newer ones replaced before this frame.", ge=0),
    ]
    fixes: list[PositionRow]


class Late(Sent, tag="late"):
    """Points of the trail that are no current positions."""

    runner: Code
    fixes: Annotated[list[LateRow], Meta(min_length=1)]


class EventSent(Sent, tag="event"):
    time: Time


class RunnerEvent(EventSent):
    """A runner joined a followed topic, or has changed."""

    change: Annotated[str, one_of("added", "changed")]
    runner: Runner
    kind: Literal["runner"] = "runner"


class RunnerRemoved(EventSent):
    """A runner left a followed topic."""

    runner: Code
    change: Literal["removed"] = "removed"
    kind: Literal["runner"] = "runner"


class RaceChange(TypedDict):
    """A followed race with a new course, or one that was deleted."""

    slug: Slug
    change: Annotated[str, one_of("changed", "removed")]


class RaceEvent(EventSent):
    """A followed race has changed: follow it again for its course; or was deleted."""

    race: RaceChange
    kind: Literal["race"] = "race"


class RunnerAccess(EventSent):
    """The client may no longer see a runner."""

    reason: Annotated[
        str, one_of("revoked", "expired", "blocked", "private", "deleted")
    ]
    runner: Code
    kind: Literal["access"] = "access"


class RaceAccess(EventSent):
    """The client may no longer see a race."""

    reason: Annotated[str, one_of("revoked", "expired", "private")]
    race: Slug
    kind: Literal["access"] = "access"


class StateEvent(EventSent):
    """A runner's state in their race."""

    runner: Code
    state: State
    kind: Literal["state"] = "state"


class SplitEvent(EventSent):
    """A runner passed a checkpoint."""

    runner: Code
    race: Slug
    checkpoint: Annotated[int, Meta(description="Its `id` in the snapshot.")]
    distance: AlongCourse
    at: Time
    uncertainty: Annotated[
        float, Meta(description="Seconds between the fixes before and after.", ge=0)
    ]
    pass_: PassNumber = field(name="pass")
    corrected: Annotated[
        bool, Meta(description="Replaces the split of this checkpoint and pass.")
    ]
    withdrawn: (
        Annotated[
            bool,
            Meta(description="True: the runner did not pass it; remove the split."),
        ]
        | UnsetType
    ) = UNSET
    kind: Literal["split"] = "split"


class PhoneEvent(EventSent):
    """The battery or the accuracy of a runner's phone has changed."""

    runner: Code
    accuracy: WholeMetres | None
    battery: PerCent | None
    kind: Literal["phone"] = "phone"


class CheerEvent(EventSent):
    """A spectator's words for a runner."""

    runner: Code
    text: Annotated[str, Meta(min_length=1, max_length=80)]
    kind: Literal["cheer"] = "cheer"


Index = Annotated[int, Meta(description="Index in `fixes`.", ge=0)]
Sentence = Annotated[str, Meta(description="A sentence for people.")]


class PublishAck(Reply, tag="ack", kw_only=True):
    """The fixes are in the database, except for those rejected."""

    stored: Count
    rejected: list[tuple[Index, FixErrorCode, Sentence]]


class CheerAck(Reply, tag="ack"):
    """The cheer is on its way."""


class SosAck(Reply, tag="ack", kw_only=True):
    """The call is stored, and the notifications are queued."""

    id: str
    open: Annotated[
        bool, Meta(description="Neither withdrawn nor closed by the race office.")
    ]
    seen: (
        Annotated[
            int,
            Meta(
                description="When the race office saw it; milliseconds since the epoch."
            ),
        ]
        | None
    )


class Pong(Reply, tag="pong"):
    """All fields of the ping."""


class Reconnect(Sent, tag="reconnect"):
    """This process is about to stop."""

    after: Annotated[
        int, Meta(description="Milliseconds after which to reconnect.", ge=0)
    ]


class Error(Reply, tag="error", kw_only=True):
    """What is wrong with a message, or why the socket ends."""

    code: Annotated[str, Meta(extra_json_schema=_ERROR_CODES)]
    detail: Annotated[str, Meta(description="A sentence for people.")]
    runner: Annotated[
        Any,
        Meta(
            description="Who was not followed or cheered, as the client named them.",
            extra_json_schema=_SCALAR,
        ),
    ] = UNSET
    race: Annotated[
        Any,
        Meta(
            description="The race that was not followed, as the client named it.",
            extra_json_schema=_SCALAR,
        ),
    ] = UNSET
    after: (
        Annotated[int, Meta(description="Milliseconds after which to try again.", ge=0)]
        | UnsetType
    ) = UNSET


SERVER_MESSAGES: tuple[type[Sent], ...] = (
    *(Welcome, Snapshot, Unfollowed, Positions, Late, RunnerEvent, RunnerRemoved),
    *(RaceEvent, RunnerAccess, RaceAccess, StateEvent, SplitEvent, PhoneEvent),
    *(CheerEvent, PublishAck, CheerAck, SosAck, Pong, Reconnect, Error),
)
_encoder = msgspec.json.Encoder()


def message_frame(message: Sent) -> bytes:
    """Encode a message as a frame."""
    return text_frame(_encoder.encode(message))
