"""Entries of a race: the start list, tokens, status, and splits set by hand."""

from __future__ import annotations

from typing import Literal

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import Field
from tablib import Dataset

from runners.api.access import key_of, race_of, races_of_key
from runners.api.fields import Bib, Moment, Slug, Strict, Text
from runners.api.paging import Cursor, Limit, check_conditions, page_of, tagged
from runners.api.problems import FieldProblem, Problem, invalid
from runners.models import ApiKey, Checkpoint, Entry, Race
from runners.models.runner import CODE_PATTERN
from runners.races.entries import HandSplit, entry_mark, splits_set_by_hand
from runners.rights.roles import Action, codes_of_others, organises_all, runners_managed
from runners.startlist.importing import Tokens, start_list_import, tokens_issue
from runners.startlist.spreadsheet import COLUMNS, MAX_ROWS, NUMBER

router = Router(tags=["entries"])
MAX_SPLITS = 2_000
StatusName = Literal["registered", "started", "finished", "dnf", "dns", "dsq"]


class EntryIn(Strict):
    """A row of a start list, matched by its code if it has one, otherwise by its bib.

    An empty code, name, visibility or estimate leaves what is stored.
    """

    bib: Text = Field(min_length=1, max_length=12)
    name: Text = Field("", max_length=80)
    code: str = Field("", pattern=rf"^({CODE_PATTERN})?$")
    category: Text = Field("", max_length=40)
    club: Text = Field("", max_length=60)
    wave: Text = Field("", description="The name of a wave of the race.")
    visibility: Literal["", "public", "followers", "race", "private"] = ""
    estimate: Literal["", "yes", "no"] = Field(
        "", description="Whether the runner is estimated between timing mats."
    )


class EntriesIn(Strict):
    """A start list, or a part of it; entries that it does not name stay.

    `tokens`: issue tokens for the phones of these entries, `missing`: of runners who
    have none; `new`: also instead of those that an earlier request has issued.
    """

    entries: list[EntryIn] = Field(min_length=1, max_length=MAX_ROWS)
    tokens: Tokens | None = None


class IssuedToken(Schema):
    """A token, which is shown only this once."""

    bib: str
    code: str
    token: str


class EntriesStored(Schema):
    new: int
    changed: int
    unchanged: int
    tokens: list[IssuedToken]


class EntryOut(Schema):
    """An entry. `accepted` is false until a runner with an account agrees."""

    bib: str
    code: str
    name: str
    category: str
    club: str
    wave: str
    status: StatusName
    accepted: bool
    shows_estimate: bool
    started_at: Moment | None
    finished_at: Moment | None
    out_at: Moment | None


class EntryPage(Schema):
    items: list[EntryOut]
    next: int | None


class StatusIn(Strict):
    status: StatusName


class SplitIn(Strict):
    """A time taken at a checkpoint; `pass_number` counts the laps."""

    bib: Text = Field(min_length=1, max_length=12)
    checkpoint: Text = Field(description="The name of a checkpoint of the race.")
    pass_number: int = Field(1, ge=1, le=1000)
    time: Moment


class SplitsIn(Strict):
    splits: list[SplitIn] = Field(min_length=1, max_length=MAX_SPLITS)


class SplitsStored(Schema):
    new: int
    changed: int
    unchanged: int


@router.get("/races/{slug}/entries", response=EntryPage)
def list_entries(
    request: HttpRequest, slug: Slug, cursor: Cursor = 0, limit: Limit = 100
) -> EntryPage:
    """List the entries of a race, the oldest first."""
    rows = race_of(request, slug, Action.VIEW).entries.select_related("runner", "wave")
    found, following = page_of(rows, cursor, limit)
    return EntryPage(items=[_out(row) for row in found], next=following)


@router.post("/races/{slug}/entries", response=EntriesStored)
def write_entries(request: HttpRequest, slug: Slug, body: EntriesIn) -> EntriesStored:
    """Add entries and change stored ones: all of them, or none if one has an error.

    The same request changes nothing.
    """
    key = key_of(request)
    with transaction.atomic():
        race = race_of(request, slug, Action.ENTER, lock=True)
        if body.tokens:
            race_of(request, slug, Action.ISSUE)
        _check_codes(key, body.entries)
        managed = runners_managed(key.account, Action.ENTER)
        table = _table(body.entries)
        done = start_list_import(race=race, table=table, managed=managed)
        if done.faults:
            raise invalid(
                FieldProblem(at=f"entries.{f.row - 1}.{f.column}", detail=f.says)
                for f in done.faults
            )
        issued = _issue(key, race, body) if body.tokens else []
    return EntriesStored(
        new=done.new, changed=done.changed, unchanged=done.unchanged, tokens=issued
    )


def _table(entries: list[EntryIn]) -> Dataset:
    """Return the entries as rows of a start list, numbered from 1."""
    rows = [
        [number, *(" ".join(getattr(entry, column).split()) for column in COLUMNS)]
        for number, entry in enumerate(entries, start=1)
    ]
    return Dataset(*rows, headers=[NUMBER, *COLUMNS])


def _check_codes(key: ApiKey, entries: list[EntryIn]) -> None:
    """Refuse runners of others, whom a start list would rename; raises `Problem`."""
    if key.scope == ApiKey.Scope.INSTALLATION and organises_all(key.account):
        return
    codes = {entry.code for entry in entries if entry.code}
    taken = codes_of_others(codes, races_of_key(key, Action.ENTER))
    faults = [
        FieldProblem(
            at=f"entries.{number}.code",
            detail="A runner outside the races of this key has this code.",
        )
        for number, entry in enumerate(entries)
        if entry.code in taken
    ]
    if faults:
        raise invalid(faults)


def _issue(key: ApiKey, race: Race, body: EntriesIn) -> list[IssuedToken]:
    assert body.tokens is not None
    bibs = [entry.bib for entry in body.entries]
    managed = runners_managed(key.account, Action.ISSUE)
    issued = tokens_issue(race=race, bibs=bibs, managed=managed, tokens=body.tokens)
    return [
        IssuedToken(bib=entry.bib, code=entry.runner.code, token=plain)
        for entry, plain in issued
    ]


@router.get("/races/{slug}/entries/{path:bib}", response=EntryOut)
def read_entry(
    request: HttpRequest, response: HttpResponse, slug: Slug, bib: Bib
) -> EntryOut:
    """Read an entry."""
    entry = _entry(race_of(request, slug, Action.VIEW), bib)
    return tagged(request, response, _out(entry))


@router.patch("/races/{slug}/entries/{path:bib}", response=EntryOut)
def mark_entry(
    request: HttpRequest, response: HttpResponse, slug: Slug, bib: Bib, body: StatusIn
) -> EntryOut:
    """Set the status of an entry. Times that contradict it are removed."""
    with transaction.atomic():
        entry = _entry(race_of(request, slug, Action.STATUS, lock=True), bib)
        check_conditions(request, _out(entry))
        if entry.status != body.status:
            entry_mark(entry=entry, status=body.status)
        return tagged(request, response, _out(entry))


@router.delete("/races/{slug}/entries/{path:bib}", response={204: None})
def delete_entry(request: HttpRequest, slug: Slug, bib: Bib) -> Status[None]:
    """Delete an entry with its times. The runner stays."""
    with transaction.atomic():
        race = race_of(request, slug, Action.ENTER, lock=True)
        entry = _entry(race, bib)
        check_conditions(request, _out(entry))
        entry.delete()
    return Status(204, None)


def _out(entry: Entry) -> EntryOut:
    return EntryOut(
        bib=entry.bib,
        code=entry.runner.code,
        name=entry.runner.name,
        category=entry.category,
        club=entry.club,
        wave="" if entry.wave is None else entry.wave.name,
        status=entry.status,  # type: ignore[arg-type]
        accepted=entry.accepted,
        shows_estimate=entry.shows_estimate,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        out_at=entry.out_at,
    )


def _entry(race: Race, bib: str) -> Entry:
    entry = race.entries.select_related("runner", "wave").filter(bib=bib).first()
    if entry is None:
        raise Problem(404, "entry.unknown", "The race has no entry with this bib.")
    return entry


@router.post("/races/{slug}/splits", response=SplitsStored)
def write_splits(request: HttpRequest, slug: Slug, body: SplitsIn) -> SplitsStored:
    """Set times by hand: all of them, or none if one has an error.

    Phones do not overwrite them. A time at the finish finishes the runner. The same
    request changes nothing.
    """
    with transaction.atomic():
        race = race_of(request, slug, Action.TIMES, lock=True)
        new, changed, unchanged = splits_set_by_hand(times=_times(race, body.splits))
    return SplitsStored(new=new, changed=changed, unchanged=unchanged)


def _times(race: Race, splits: list[SplitIn]) -> list[HandSplit]:
    bibs = {split.bib for split in splits}
    entries = {entry.bib: entry for entry in race.entries.filter(bib__in=bibs)}
    checkpoints: dict[str, Checkpoint] = {c.name: c for c in race.checkpoints.all()}
    unknown = [
        FieldProblem(
            at=f"splits.{number}.{field}", detail=f"The race has no {field} {value!r}."
        )
        for number, split in enumerate(splits)
        for field, value, known in (
            ("bib", split.bib, entries),
            ("checkpoint", split.checkpoint, checkpoints),
        )
        if value not in known
    ]
    if unknown:
        raise invalid(unknown)
    # The last of several times of one pass.
    times = {(s.bib, s.checkpoint, s.pass_number): s.time for s in splits}
    return [
        HandSplit(entries[bib], checkpoints[checkpoint], number, time)
        for (bib, checkpoint, number), time in times.items()
    ]
