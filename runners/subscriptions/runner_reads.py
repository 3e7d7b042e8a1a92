"""Coalesced reads for sockets that follow runners one by one.

A crowd that follows single runners, after a restart or at a start, would cause about
five queries per socket. All requests that arrive during a query share the next one, so
the cost depends on the number of runners and not of sockets.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import orjson

from runners.database import CoalescedReads
from runners.live.encoding.snapshots import snapshot_bodies
from runners.recovery.backfill import (
    COMMIT_DELAY_S,
    LIMIT,
    MARGIN_S,
    RUNNER_LIMIT,
    RUNNERS_PER_BATCH,
    Backfill,
    stored_since,
)
from runners.rights.access import Grant, Viewer, followable
from runners.snapshots.items import (
    TRAIL_RUNNERS,
    Item,
    add_trails,
    oldest_time,
    runner_items,
    shown_from,
)
from runners.units.clock import milliseconds

# Times are rounded down to multiples of this, so that many requests share a query.
SINCE_STEP_MS = 5_000
READ_AT_STEP_MS = 500
# Runners whose trails share a query and its limit.
TRAILS_PER_QUERY = 25


class FollowRequest(NamedTuple):
    """A request to follow a code. Tuples are made and hashed fastest."""

    user: int | None
    links: tuple[int, ...]
    create: bool
    code: str


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """A request for the fixes of a runner stored since a time (milliseconds)."""

    runner: int
    since: int
    margin: float
    limit: float


@dataclass(frozen=True, slots=True)
class RunnerItem:
    """A runner's item of a snapshot, encoded for all who see its position and trail.

    `begin` is the time of its oldest point (milliseconds).
    """

    item: Item
    encoded: bytes
    begin: float

    def since(self, begin: int) -> bytes:
        """Encode the item for a viewer who sees positions from a time on."""
        if begin <= self.begin:
            return self.encoded
        return orjson.dumps({**shown_from(self.item, begin), "trail": ""})


class RunnerReads:
    """The coalesced reads of one event loop."""

    def __init__(self) -> None:
        self._grants = CoalescedReads(_read_grants, 500)
        self._items = CoalescedReads(_read_items, 100)
        self._since = CoalescedReads(_read_since, 200)

    async def followable(
        self, viewer: Viewer, codes: Sequence[str], *, create: bool
    ) -> tuple[list[Grant], dict[str, str]]:
        """Return what `access.followable` returns; raises `DatabaseUnavailable`."""
        requests = {
            code: FollowRequest(viewer.user, viewer.links, create, code)
            for code in codes
        }
        found = await self._grants.read(requests.values())
        grants = []
        refused = {}
        for code, key in requests.items():
            answer = found[key]
            if isinstance(answer, str):
                refused[code] = answer
            else:
                grants.append(answer)
        return grants, refused

    async def snapshot(self, begins: Mapping[int, int]) -> list[bytes]:
        """Return the encoded parts of a snapshot; raises `DatabaseUnavailable`.

        `begins` maps the runners to when they are shown from (milliseconds), here as
        below.
        """
        trail = len(begins) <= TRAIL_RUNNERS
        found = await self._items.read([(pk, trail) for pk in begins])
        items = [
            found[pk, trail].since(begin)
            for pk, begin in begins.items()
            if (pk, trail) in found
        ]
        return snapshot_bodies(map(orjson.Fragment, items), [])

    async def backfill(self, begins: Mapping[int, int], since: int) -> Backfill:
        """Return the fixes stored since a time. Raises `DatabaseUnavailable`."""
        step = since - since % SINCE_STEP_MS
        backfill = await self._stored(begins, step, MARGIN_S, RUNNER_LIMIT)
        total = 0
        for pk, rows in list(backfill.rows.items()):
            total += len(rows)
            if total > LIMIT:
                backfill.truncated[pk] = backfill.codes[pk]
                del backfill.rows[pk], backfill.late[pk]
                backfill.newest.pop(pk, None)
        return backfill

    async def stored_after(self, begins: Mapping[int, int], read_at: int) -> Backfill:
        """Return the fixes committed since a read at a time (milliseconds)."""
        step = read_at - read_at % READ_AT_STEP_MS
        return await self._stored(begins, step, COMMIT_DELAY_S, math.inf)

    async def _stored(
        self, begins: Mapping[int, int], since: int, margin: float, limit: float
    ) -> Backfill:
        requests = [BackfillRequest(pk, since, margin, limit) for pk in begins]
        found = await self._since.read(requests)
        backfill = Backfill()
        for key in requests:
            part, pk = found[key], key.runner
            if pk in part.truncated:
                backfill.truncated[pk] = part.truncated[pk]
            elif pk in part.rows:
                backfill.add(part.since(pk, begins[pk]))
        return backfill


# -- in a thread of the database pool


def _read_grants(requests: Sequence[FollowRequest]) -> dict[FollowRequest, Grant | str]:
    codes: dict[tuple[int | None, tuple[int, ...], bool], list[str]] = defaultdict(list)
    for key in requests:
        codes[key.user, key.links, key.create].append(key.code)
    found: dict[FollowRequest, Grant | str] = {}
    for (user, links, create), theirs in codes.items():
        viewer = Viewer(user=user, links=links)
        grants, refused = followable(viewer, theirs, create=create)
        for grant in grants:
            found[FollowRequest(user, links, create, grant.code)] = grant
        for code, reason in refused.items():
            found[FollowRequest(user, links, create, code)] = reason
    return found


def _read_items(
    requests: Sequence[tuple[int, bool]],
) -> dict[tuple[int, bool], RunnerItem]:
    items = runner_items({pk for pk, _ in requests}, begins={})
    found = {
        (pk, False): _encoded(items[pk], None)
        for pk, trail in requests
        if not trail and pk in items
    }
    with_trails = [pk for pk, trail in requests if trail and pk in items]
    for start in range(0, len(with_trails), TRAILS_PER_QUERY):
        piece = {pk: items[pk] for pk in with_trails[start : start + TRAILS_PER_QUERY]}
        oldest = add_trails(piece, begins={})
        found |= {
            (pk, True): _encoded(item, oldest.get(pk)) for pk, item in piece.items()
        }
    return found


def _encoded(item: Item, oldest: datetime | None) -> RunnerItem:
    begin = oldest_time(item)
    if oldest is not None:
        begin = min(begin, milliseconds(oldest))
    return RunnerItem(item, orjson.dumps(item), begin)


def _read_since(requests: Sequence[BackfillRequest]) -> dict[BackfillRequest, Backfill]:
    runners: dict[tuple[int, float, float], list[int]] = defaultdict(list)
    for key in requests:
        runners[key.since, key.margin, key.limit].append(key.runner)
    found = {}
    for (since, margin, limit), pks in runners.items():
        for start in range(0, len(pks), RUNNERS_PER_BATCH):
            piece = pks[start : start + RUNNERS_PER_BATCH]
            backfill = stored_since(piece, since, limit, math.inf, margin, begins={})
            for pk in piece:
                found[BackfillRequest(pk, since, margin, limit)] = backfill
    return found
