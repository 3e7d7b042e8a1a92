"""Databases and Redis that tests can stop, and what a database contains in the end."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

import psycopg

from tests.faults.phones import Place
from tests.servers import Server
from tests.services import Postgres, shared_postgres

Store = Literal["sqlite", "postgres"]
STORES: tuple[Store, ...] = ("sqlite", "postgres")

# Phones in these tests send faster than a token allows.
LOAD = {"SPECTATE_PUBLISH_RATE": "1000000", "SPECTATE_PUBLISH_BURST": "1000000"}

_POSITIONS = (
    "SELECT r.code, {at}, p.lat, p.lng FROM runners_position p "
    "JOIN runners_runner r ON r.id = p.runner_id ORDER BY p.recorded_at"
)
_LATEST = (
    "SELECT r.code, {at}, p.lat, p.lng FROM runners_latestposition p "
    "JOIN runners_runner r ON r.id = p.runner_id"
)
_MILLISECONDS = "round(extract(epoch FROM p.recorded_at) * 1000)::bigint"


class StoppablePostgres(Postgres):
    """A PostgreSQL server whose `stop` is immediate, even with clients connected."""

    def stop(self) -> None:
        self._end(signal.SIGINT)


@contextlib.contextmanager
def started(store: Store, **env: str) -> Iterator[Server]:
    """Start a server on a new database."""
    if store == "postgres":
        env["DATABASE_URL"] = shared_postgres().new_database()
    with Server("uvicorn", **LOAD, **env) as server:
        yield server


@dataclass
class Stored:
    """The contents of a database: each runner's positions by time, and the newest."""

    tracks: dict[str, dict[int, Place]] = field(default_factory=dict)
    latest: dict[str, tuple[int, Place]] = field(default_factory=dict)
    # Rows with the same runner and time as an earlier row.
    doubled: int = 0

    @property
    def fixes(self) -> int:
        return sum(map(len, self.tracks.values()))


def stored_in(database_url: str) -> Stored:
    """Read all positions without Django and the project's code."""
    found = Stored()
    for code, t, lat, lng in _rows(database_url, _POSITIONS):
        track = found.tracks.setdefault(code, {})
        found.doubled += t in track
        track[t] = lat, lng
    for code, t, lat, lng in _rows(database_url, _LATEST):
        found.latest[code] = t, (lat, lng)
    return found


def _rows(url: str, query: str) -> Iterator[tuple[str, int, float, float]]:
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            for code, at, lat, lng in db.execute(query.format(at="p.recorded_at")):
                moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
                yield code, round(moment.timestamp() * 1000), lat, lng
    else:
        sql = query.format(at=_MILLISECONDS)
        with psycopg.connect(url.replace("postgres:", "postgresql:")) as postgres:
            yield from postgres.execute(sql.encode())


class Publisher(Protocol):
    """A phone that remembers its positions by their times in milliseconds."""

    code: str
    made: dict[int, Place]

    @property
    def acked(self) -> set[int]: ...


def acked(phones: Iterable[Publisher]) -> int:
    return sum(len(phone.acked) for phone in phones)


def not_as_acked(phones: Iterable[Publisher], stored: Stored) -> list[str]:
    """Compare acked with stored fixes and return one sentence per kind of fault."""
    faults: Counter[str] = Counter()
    for phone in phones:
        track = stored.tracks.get(phone.code, {})
        for t in phone.acked:
            if t not in track:
                faults["acked but not stored"] += 1
            elif track[t] != phone.made[t]:
                faults["stored at another place"] += 1
        faults["stored but never made"] += len(track.keys() - phone.made.keys())
        if track:
            newest = max(track)
            if stored.latest.get(phone.code) != (newest, track[newest]):
                faults["latest position is not the newest"] += 1
    faults["stored twice"] = stored.doubled
    return [f"{count} {what}" for what, count in faults.items() if count]


def tracebacks(*servers: Server) -> list[str]:
    """Return the first traceback in each server's log."""
    found = []
    for server in servers:
        if (at := server.log.find("Traceback")) >= 0:
            start = server.log.rfind("\n", 0, at - 1) + 1
            found.append(f"A traceback:\n{server.log[start : at + 4_000]}")
    return found
