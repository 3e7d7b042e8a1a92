"""Passings of timing mats, from systems that have no box of their own here."""

from __future__ import annotations

from itertools import islice
from typing import Self
from zoneinfo import ZoneInfo

import orjson
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from pydantic import Field, model_validator

from runners.api.access import KeyInHeader, KeyInQuery, race_of
from runners.api.fields import Moment, Slug, Strict, Text
from runners.api.problems import Problem
from runners.models import Passing
from runners.rights.roles import Action
from runners.timing.raceresult_exporter import reads_of_body
from runners.timing.reads import MAX_BIB, MAX_CODE, MAX_STATION, Read, read_of
from runners.timing.storage import passings_store

MAX_PASSINGS = 2_000

router = Router(tags=["passings"])


class PassingIn(Strict):
    """A chip, or else a bib, at a mat; `station` is the mat's name."""

    station: Text = Field(min_length=1, max_length=MAX_STATION)
    time: Moment
    chip: Text = Field("", max_length=MAX_CODE)
    bib: Text = Field("", max_length=MAX_BIB)

    @model_validator(mode="after")
    def check_name(self) -> Self:
        if bool(self.chip.strip()) == bool(self.bib.strip()):
            raise ValueError("Name the chip or the bib.")
        return self


class PassingsIn(Strict):
    passings: list[PassingIn] = Field(min_length=1, max_length=MAX_PASSINGS)


class PassingsStored(Schema):
    """How many passings are new, and how many were stored before."""

    new: int
    unchanged: int


@router.post("/races/{slug}/passings", response=PassingsStored)
def write_passings(
    request: HttpRequest, slug: Slug, body: PassingsIn
) -> PassingsStored:
    """Store passings of timing mats, and the splits that follow.

    Those of unknown chips or stations are stored too: the race office sees them, and
    they are used once it knows them. The same request changes nothing.
    """
    race = race_of(request, slug, Action.TIMES)
    reads = [_read(passing) for passing in body.passings]
    new = passings_store(race=race, source=Passing.Source.API, reads=reads)
    return PassingsStored(new=new, unchanged=len(reads) - new)


@router.post(
    "/races/{slug}/passings/raceresult",
    response=PassingsStored,
    auth=[KeyInHeader(), KeyInQuery()],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def write_raceresult_passings(request: HttpRequest, slug: Slug) -> PassingsStored:
    """Store the passings that an exporter of RACE RESULT posts (docs/timing.md).

    Its records are "Raw Data Record JSON" or "Raw Data Record V2". The key may be in
    the query, because an exporter sets no headers.
    """
    race = race_of(request, slug, Action.TIMES)
    zone = ZoneInfo(race.timezone)
    found = reads_of_body(request.body, zone, timezone.now())
    # One more than allowed shows that there are too many: the body may have a million.
    reads = list(islice(found, MAX_PASSINGS + 1))
    if len(reads) > MAX_PASSINGS:
        raise Problem(413, "body.too_large", f"At most {MAX_PASSINGS} records at once.")
    new = passings_store(race=race, source=Passing.Source.RACE_RESULT, reads=reads)
    return PassingsStored(new=new, unchanged=len(reads) - new)


def _read(passing: PassingIn) -> Read:
    raw = orjson.dumps(passing.model_dump(exclude_defaults=True)).decode()
    return read_of(passing.station, raw, passing.chip, passing.time, bib=passing.bib)
