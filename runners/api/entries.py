"""Entries of a race: the start list, tokens, status, and splits set by hand."""

from __future__ import annotations

from typing import Literal

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import Field
from tablib import Dataset

from runners.api.access import key_of, race_of, races_of_key
from runners.api.fields import Bib, Moment, Slug, Strict, Text, without_empty
from runners.api.paging import (
    CONDITIONAL_CHANGE,
    CONDITIONAL_DELETE,
    CONDITIONAL_READ,
    Cursor,
    Limit,
    check_conditions,
    page_of,
    tagged,
)
from runners.api.problems import FieldProblem, Problem, invalid
from runners.models import ApiKey, Checkpoint, Entry, Race
from runners.models.runner import CODE_PATTERN
from runners.races.entries import HandSplit, entry_mark, splits_set_by_hand
from runners.rights.roles import Action, codes_of_others, organises_all, runners_managed
from runners.startlist.importing import (
    Preview,
    Tokens,
    start_list_import,
    tokens_issue,
)
from runners.startlist.spreadsheet import COLUMNS, MAX_ROWS, NUMBER
from runners.timing.splits import estimates_renew

router = Router(tags=["entries"])
MAX_SPLITS = 2_000
StatusName = Literal["registered", "started", "finished", "dnf", "dns", "dsq"]


class EntryFields(Strict):
    """An entry.

    An empty code, name, visibility, estimate or mail leaves what is stored. `mail` is
    for the set-up link of the race office, and no response has it.
    """

    name: Text = Field("", max_length=80)
    code: str = Field("", pattern=rf"^({CODE_PATTERN})?$")
    category: Text = Field("", max_length=40)
    club: Text = Field("", max_length=60)
    wave: Text = Field("", description="The name of a wave of the race.")
    visibility: Literal["", "public", "followers", "race", "private"] = Field(
        "", json_schema_extra=without_empty
    )
    estimate: Literal["", "yes", "no"] = Field(
        "",
        description="Whether the runner is estimated between timing mats.",
        json_schema_extra=without_empty,
    )
    mail: Text = Field("", max_length=254)


class EntryIn(EntryFields):
    """A row of a start list, matched by its code if it has one, otherwise by its bib.

    An empty code, name, visibility, estimate or mail leaves what is stored.
    """

    bib: Text = Field(min_length=1, max_length=12)


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
    visibility: Literal["public", "followers", "race", "private"]
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
        done = _import(key, race, body.entries, at="entries.{}.")
        issued = _issue(key, race, body) if body.tokens else []
    return EntriesStored(
        new=done.new, changed=done.changed, unchanged=done.unchanged, tokens=issued
    )


def _import(key: ApiKey, race: Race, entries: list[EntryIn], *, at: str) -> Preview:
    """Store entries, or raise `Problem`; `at` is the place of a row with its number."""
    _check_codes(key, entries, at)
    managed = runners_managed(key.account, Action.ENTER)
    done = start_list_import(race=race, table=_table(entries), managed=managed)
    if done.faults:
        raise invalid(
            FieldProblem(at=at.format(fault.row - 1) + fault.column, detail=fault.says)
            for fault in done.faults
        )
    return done


def _table(entries: list[EntryIn]) -> Dataset:
    """Return the entries as rows of a start list, numbered from 1."""
    rows = [
        [number, *(" ".join(getattr(entry, column).split()) for column in COLUMNS)]
        for number, entry in enumerate(entries, start=1)
    ]
    return Dataset(*rows, headers=[NUMBER, *COLUMNS])


def _check_codes(key: ApiKey, entries: list[EntryIn], at: str) -> None:
    """Refuse runners of others, whom a start list would rename; raises `Problem`."""
    if key.scope == ApiKey.Scope.INSTALLATION and organises_all(key.account):
        return
    codes = {entry.code for entry in entries if entry.code}
    taken = codes_of_others(codes, races_of_key(key, Action.ENTER))
    faults = [
        FieldProblem(
            at=at.format(number) + "code",
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


@router.get(
    "/races/{slug}/entries/{path:bib}",
    response=EntryOut,
    openapi_extra=CONDITIONAL_READ,
)
def read_entry(
    request: HttpRequest, response: HttpResponse, slug: Slug, bib: Bib
) -> EntryOut:
    """Read an entry."""
    entry = _entry(race_of(request, slug, Action.VIEW), bib)
    return tagged(request, response, _out(entry))


@router.put(
    "/races/{slug}/entries/{path:bib}",
    response={200: EntryOut, 201: EntryOut},
    openapi_extra=CONDITIONAL_CHANGE,
)
def write_entry(
    request: HttpRequest,
    response: HttpResponse,
    slug: Slug,
    bib: Bib,
    body: EntryFields,
) -> Status[EntryOut]:
    """Enter a runner with this bib, or change the entry that has it.

    If the runner is in the race with a different bib, their entry gets this bib. The
    same request again changes nothing.
    """
    key = key_of(request)
    bib = " ".join(bib.split())
    with transaction.atomic():
        race = race_of(request, slug, Action.ENTER, lock=True)
        stored = _find(race, Q(bib=bib))
        if stored is None and body.code:
            stored = _find(race, Q(runner__code=body.code))
        check_conditions(request, None if stored is None else _out(stored))
        # Of spaces only, the bib is refused as in a list.
        row = EntryIn.model_construct(bib=bib, **body.dict())
        done = _import(key, race, [row], at="")
        entry = tagged(request, response, _out(_entry(race, bib)))
        return Status(201 if done.new else 200, entry)


@router.patch(
    "/races/{slug}/entries/{path:bib}",
    response=EntryOut,
    openapi_extra=CONDITIONAL_CHANGE,
)
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


@router.delete(
    "/races/{slug}/entries/{path:bib}",
    response={204: None},
    openapi_extra=CONDITIONAL_DELETE,
)
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
        visibility=entry.runner.visibility,  # type: ignore[arg-type]
        status=entry.status,  # type: ignore[arg-type]
        accepted=entry.accepted,
        shows_estimate=entry.shows_estimate,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        out_at=entry.out_at,
    )


def _entry(race: Race, bib: str) -> Entry:
    entry = _find(race, Q(bib=bib))
    if entry is None:
        raise Problem(404, "entry.unknown", "The race has no entry with this bib.")
    return entry


def _find(race: Race, of: Q) -> Entry | None:
    return race.entries.select_related("runner", "wave").filter(of).first()


@router.post("/races/{slug}/splits", response=SplitsStored)
def write_splits(request: HttpRequest, slug: Slug, body: SplitsIn) -> SplitsStored:
    """Set times by hand: all of them, or none if one has an error.

    Phones do not overwrite them. A time at the finish finishes the runner. The same
    request changes nothing.
    """
    with transaction.atomic():
        race = race_of(request, slug, Action.TIMES, lock=True)
        times = _times(race, body.splits)
        new, changed, unchanged = splits_set_by_hand(times=times)
        estimates_renew(race=race, entries={time.entry.pk for time in times})
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
