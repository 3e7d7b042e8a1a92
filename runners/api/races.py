"""Races, with their courses, waves and checkpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Query, Router, Schema, Status
from pydantic import Field

from runners.api.access import (
    forbidden,
    key_of,
    race_of,
    races_of_key,
    unknown_race,
)
from runners.api.fields import Moment, Slug, Strict, Text
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
from runners.models import ApiKey, Race
from runners.models.race_role import Role
from runners.races.course import Course, waypoints_of_gpx
from runners.races.course_check import course_problems
from runners.races.course_files import course_gpx
from runners.races.gpx_import import CourseError
from runners.races.setup import (
    DEFAULT_DURATION,
    ProposedCheckpoint,
    length_problem,
    race_has_course,
    race_save,
    race_set_checkpoints,
    race_set_course,
    race_set_waves,
)
from runners.rights.roles import Action, role_set

router = Router(tags=["races"])
GPX_TYPE = "application/gpx+xml"


def gpx_body(place: Literal["requestBody", "responses"]) -> dict[str, Any]:
    """Return the description of a GPX file as a body."""
    file = {"content": {GPX_TYPE: {"schema": {"type": "string"}}}}
    if place == "requestBody":
        return {place: file | {"required": True}}
    return {place: {200: file | {"description": "The course."}}}


class RaceIn(Strict):
    """A race. Without `ends`, it ends 48 hours after the start."""

    name: Text = Field(min_length=1, max_length=120)
    start: Moment
    ends: Moment | None = None
    timezone: Text = "UTC"
    visibility: Literal["public", "link"] = "public"
    top_speed: float = Field(12.5, ge=1, description="Metres per second.")


class RaceOut(Schema):
    """A race; `length` in metres, 0 without a course; `url` is its live page."""

    slug: str
    name: str
    start: Moment
    ends: Moment
    timezone: str
    visibility: Literal["public", "link"]
    top_speed: float
    length: float
    url: str

    @staticmethod
    def resolve_url(race: Race) -> str:
        return f"{settings.PUBLIC_URL}{reverse('race', args=[race.slug])}"


class RacePage(Schema):
    items: list[RaceOut]
    next: int | None


class CourseOut(Schema):
    """The stored course in metres, and what is odd about it."""

    length: float
    measured: float
    checkpoints: int
    warnings: list[str]


class WaveBody(Strict):
    name: Text = Field(min_length=1, max_length=40)
    start: Moment


class Waves(Strict):
    waves: list[WaveBody] = Field(max_length=200)


class CheckpointBody(Strict):
    """A point of the course where times are taken; `distance` in metres along it."""

    name: Text = Field(min_length=1, max_length=60)
    distance: float = Field(ge=0)
    kind: Literal["start", "split", "finish"] = "split"


class Checkpoints(Strict):
    checkpoints: list[CheckpointBody] = Field(max_length=500)


@router.get("/races", response=RacePage)
def list_races(
    request: HttpRequest, cursor: Cursor = 0, limit: Limit = 100
) -> RacePage:
    """List the races of this key."""
    rows, following = page_of(
        races_of_key(key_of(request)).defer("line"), cursor, limit
    )
    return RacePage(items=[RaceOut.from_orm(race) for race in rows], next=following)


@router.get("/races/{slug}", response=RaceOut, openapi_extra=CONDITIONAL_READ)
def read_race(request: HttpRequest, response: HttpResponse, slug: Slug) -> RaceOut:
    """Read a race."""
    return tagged(
        request, response, RaceOut.from_orm(race_of(request, slug, Action.VIEW))
    )


@router.put(
    "/races/{slug}",
    response={200: RaceOut, 201: RaceOut},
    openapi_extra=CONDITIONAL_CHANGE,
)
def write_race(
    request: HttpRequest, response: HttpResponse, slug: Slug, body: RaceIn
) -> Status[RaceOut]:
    """Create a race, or replace its fields. The same request changes nothing."""
    with transaction.atomic():
        key = key_of(request)
        race = None
        if races_of_key(key).filter(slug=slug).exists():
            race = race_of(request, slug, Action.EDIT, lock=True)
        check_conditions(request, None if race is None else RaceOut.from_orm(race))
        is_new = race is None
        race = race or _new_race(key, slug)
        values = body.dict() | {"ends": body.ends or body.start + DEFAULT_DURATION}
        for name, value in values.items():
            setattr(race, name, value)
        race_save(race=race)
        if is_new:
            role_set(race=race, user=key.account, role=Role.OWNER)
        status = 201 if is_new else 200
        return Status(status, tagged(request, response, RaceOut.from_orm(race)))


@router.delete("/races/{slug}", response={204: None}, openapi_extra=CONDITIONAL_DELETE)
def delete_race(request: HttpRequest, slug: Slug) -> Status[None]:
    """Delete a race with its entries, times and results. Its runners stay.

    A key of one race may not do this.
    """
    key = key_of(request)
    with transaction.atomic():
        race = race_of(request, slug, Action.DELETE, lock=True)
        if key.scope == ApiKey.Scope.RACE:
            raise Problem(
                *(403, "permission.missing"), "A key of one race may not delete it."
            )
        check_conditions(request, RaceOut.from_orm(race))
        race.delete()
    return Status(204, None)


def _new_race(key: ApiKey, slug: str) -> Race:
    if key.scope == ApiKey.Scope.RACE:
        raise unknown_race()
    if not key.account.has_perm("runners.add_race"):
        raise forbidden("create races")
    if Race.objects.filter(slug=slug).exists():
        raise Problem(
            *(409, "request.conflict"),
            f"The slug {slug} is taken by a race that is not this key's. Use another.",
        )
    return Race(slug=slug)


@router.get("/races/{slug}/course.gpx", openapi_extra=gpx_body("responses"))
def read_course(request: HttpRequest, slug: Slug) -> HttpResponse:
    """Read the course as GPX: a track, and a waypoint per checkpoint."""
    race = race_of(request, slug, Action.VIEW)
    if not race.length:
        raise Problem(404, "race.no_course", "The race has no course yet.")
    return HttpResponse(course_gpx(race), content_type=GPX_TYPE)


@router.put(
    "/races/{slug}/course.gpx",
    response=CourseOut,
    openapi_extra=gpx_body("requestBody"),
)
def write_course(
    request: HttpRequest,
    slug: Slug,
    length: Annotated[
        float | None, Query(gt=0, description="The certified length in metres.")
    ] = None,
) -> CourseOut:
    """Set the course from the first track, route or waypoints of a GPX file.

    A different course also replaces the checkpoints: start, finish, every 5 km and the
    file's waypoints. The same course changes nothing.
    """
    content = request.read()
    try:
        course, waypoints = Course.from_gpx(content), waypoints_of_gpx(content)
    except CourseError as error:
        raise invalid([FieldProblem(at="body", detail=str(error))]) from error
    if length and (problem := length_problem(length, course.measured)):
        raise invalid([FieldProblem(at="length", detail=problem)])
    with transaction.atomic():
        race = race_of(request, slug, Action.EDIT, lock=True)
        if not race_has_course(race=race, course=course, length=length):
            race_set_course(
                race=race, course=course, waypoints=waypoints, length=length
            )
    return CourseOut(
        length=round(race.length, 1),
        measured=round(course.measured, 1),
        checkpoints=race.checkpoints.count(),
        warnings=[problem.text for problem in course_problems(course)],
    )


@router.get("/races/{slug}/waves", response=Waves, openapi_extra=CONDITIONAL_READ)
def read_waves(request: HttpRequest, response: HttpResponse, slug: Slug) -> Waves:
    """Read the waves of a race."""
    return tagged(request, response, _waves(race_of(request, slug, Action.VIEW)))


@router.put("/races/{slug}/waves", response=Waves, openapi_extra=CONDITIONAL_CHANGE)
def write_waves(
    request: HttpRequest, response: HttpResponse, slug: Slug, body: Waves
) -> Waves:
    """Set all waves of a race. A wave is identified by its name."""
    with transaction.atomic():
        race = race_of(request, slug, Action.EDIT, lock=True)
        check_conditions(request, _waves(race))
        race_set_waves(race=race, waves={wave.name: wave.start for wave in body.waves})
        return tagged(request, response, _waves(race))


def _waves(race: Race) -> Waves:
    rows = race.waves.order_by("start", "name")
    return Waves(waves=[WaveBody(name=w.name, start=w.start) for w in rows])


@router.get(
    "/races/{slug}/checkpoints", response=Checkpoints, openapi_extra=CONDITIONAL_READ
)
def read_checkpoints(
    request: HttpRequest, response: HttpResponse, slug: Slug
) -> Checkpoints:
    """Read the checkpoints of a race, in the order of the course."""
    return tagged(request, response, _checkpoints(race_of(request, slug, Action.VIEW)))


@router.put(
    "/races/{slug}/checkpoints", response=Checkpoints, openapi_extra=CONDITIONAL_CHANGE
)
def write_checkpoints(
    request: HttpRequest, response: HttpResponse, slug: Slug, body: Checkpoints
) -> Checkpoints:
    """Set all checkpoints of a race. A checkpoint is identified by its name.

    The splits of a checkpoint that is left out are deleted.
    """
    with transaction.atomic():
        race = race_of(request, slug, Action.EDIT, lock=True)
        check_conditions(request, _checkpoints(race))
        beyond = [
            FieldProblem(
                at=f"checkpoints.{number}.distance",
                detail=f"The course is {race.length:.1f} m long.",
            )
            for number, checkpoint in enumerate(body.checkpoints)
            if checkpoint.distance > race.length
        ]
        if beyond:
            raise invalid(beyond)
        race_set_checkpoints(
            race=race,
            checkpoints=[
                ProposedCheckpoint(**each.dict()) for each in body.checkpoints
            ],
        )
        return tagged(request, response, _checkpoints(race))


def _checkpoints(race: Race) -> Checkpoints:
    rows = race.checkpoints.order_by("distance", "name")
    return Checkpoints(checkpoints=[CheckpointBody.from_orm(row) for row in rows])
