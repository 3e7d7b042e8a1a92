"""Domain events: what happened to runners and races, as typed values.

The pipeline and the services emit them; `encoding/` turns them into frames. Those of a
runner's group pass through the channel layer, by reference or as a list of plain
values. Times are in milliseconds since the epoch, distances in metres, `runner` is a
primary key, and `time` is when the event was emitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

# The group of all hubs.
HUBS = "hubs"

WireId = str | int


def runner_group(runner: int) -> str:
    """Return the name of the group of a runner's subscribers."""
    return f"runner.{runner}"


class PositionAccepted(NamedTuple):
    """A fix is newer than all before it.

    `wire_id` is the runner's id as the publisher sent it, if it did. Without `moves`,
    the fix is one of a batch and only the last one moves the marker. `state` is the
    runner's race state, if it has changed.
    """

    runner: int
    code: str
    t: int
    lat: float
    lng: float
    speed: float | None
    heading: float | None
    progress: float | None
    uncertainty: float | None = None
    wire_id: WireId | None = None
    moves: bool = True
    state: dict[str, Any] = {}


class LateFixes(NamedTuple):
    """Fixes (t, lat, lng) arrived late: they complete the trail, oldest first."""

    runner: int
    code: str
    fixes: Sequence[tuple[int, float, float]]

    def since(self, begin: int) -> LateFixes:
        """Return the event without the fixes from before a time; it may have none."""
        return self._replace(fixes=[fix for fix in self.fixes if fix[0] >= begin])


class FixHeld(NamedTuple):
    """A fix is stored and not shown; other processes need the race state after it."""

    runner: int
    state: dict[str, Any]


class StateCorrected(NamedTuple):
    """Late fixes changed a runner's race state; other processes continue from it."""

    runner: int
    state: dict[str, Any]


class SplitPassed(NamedTuple):
    """A runner passed a checkpoint of a race (a slug); `uncertainty` is in seconds.

    `only`, a race's primary key, restricts the event to the race's followers.
    `withdrawn`: late fixes show that they did not pass it.
    """

    runner: int
    code: str
    race: str
    checkpoint: int
    time: int
    distance: float
    at: int
    uncertainty: float
    pass_number: int
    corrected: bool
    only: int | None
    withdrawn: bool = False


class StatusChanged(NamedTuple):
    """A runner's status in their race changed."""

    runner: int
    code: str
    status: str
    time: int


class PhoneChanged(NamedTuple):
    """The accuracy (metres) or the battery (per cent) of a runner's phone changed."""

    runner: int
    code: str
    accuracy: float | None
    battery: float | None
    time: int


class Cheered(NamedTuple):
    """A spectator cheered a runner."""

    runner: int
    code: str
    text: str
    time: int


RunnerEvent = (
    PositionAccepted
    | LateFixes
    | FixHeld
    | StateCorrected
    | SplitPassed
    | StatusChanged
    | PhoneChanged
    | Cheered
)


Item = TypeVar("Item")


class RunnerChanged(NamedTuple, Generic[Item]):
    """A runner was `added`, `changed` or `removed`; `item` is as in a snapshot."""

    change: str
    item: Item
    time: int


class RaceChanged(NamedTuple):
    """A race (a slug) was `changed` or `removed`."""

    change: str
    race: str
    time: int


class Probe(NamedTuple):
    """A hub sends itself an event, to detect that the layer lost events."""

    group: str
    t: int


class EventsLost(NamedTuple):
    """A process could not send since a time: all hubs backfill from the database."""

    t: int


Event = RunnerEvent | RunnerChanged[Any] | RaceChanged
LayerEvent = RunnerEvent | Probe | EventsLost

_LAYER_EVENTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(PositionAccepted, LateFixes, FixHeld, StateCorrected),
        *(SplitPassed, StatusChanged),
        *(PhoneChanged, Cheered, Probe, EventsLost),
    )
}


def to_values(event: LayerEvent) -> list[Any]:
    """Return an event as plain values: the name of its type, then its fields."""
    values = [type(event).__name__, *event]
    if type(event) is SplitPassed and not event.withdrawn:
        # The previous version does not know the field.
        values.pop()
    return values


def from_values(values: Sequence[Any]) -> LayerEvent | Sequence[Any]:
    """Return the event of `to_values`; of a newer version's event, the values."""
    name, *fields = values
    kind = _LAYER_EVENTS.get(name)
    if kind is None:
        return values
    # A newer version may have added fields.
    event: LayerEvent = kind(*fields[: len(kind._fields)])
    return event
