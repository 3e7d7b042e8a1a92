"""What a viewer may see of a race's arrivals, and the answers to their requests."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import orjson
from django.db.models import Max

from runners.live.encoding.ids import CODE
from runners.models import Entry, LatestPosition, Race, Split
from runners.models.runner import RunnerQuerySet
from runners.races.arrival.places import Place, place_of
from runners.races.course import Course
from runners.races.predictions import Prediction, predictions_of
from runners.races.race_data import Ground, ground_of
from runners.rights.access import visible_runners
from runners.rights.results import seen_in_race_from
from runners.rights.windows import visible_race
from runners.units.clock import now_ms
from runners.units.errors import CodedError

# Runners in one request.
MAX_NAMED = 100
MAX_COMING = 50


@dataclass(frozen=True, slots=True)
class ArrivalsRequest:
    """A request as it was sent."""

    slug: str
    # Metres along the course, or "lat,lng".
    at: str
    # Codes of runners. Without any, those who arrive next are meant.
    runners: tuple[str, ...] = ()


@dataclass(eq=False)
class VisibleField:
    """What a viewer may see of a race, as of the moment when it was read."""

    race: Race
    ground: Ground
    course: Course
    # All runners whom the race shows to the viewer.
    shown: RunnerQuerySet
    # From when on the viewer sees a runner's positions, s; see `seen_in_race_from`.
    begins: Mapping[int, float]
    # Primary keys by code, of all runners or of those who are named.
    named: Mapping[str, int]
    read_at: float = field(default_factory=time.monotonic)

    @cached_property
    def seen(self) -> dict[int, float]:
        """Map the runners in the race to the last place where they were seen."""
        return _seen(self.race, self.shown, self.begins)

    def predictions(self, runners: Collection[int]) -> dict[int, Prediction]:
        """Return the predictions of runners, from what the viewer may see."""
        of_all = predictions_of(self.race, self.ground, runners)
        begins = self.begins
        return {
            runner: seen
            for runner, of in of_all.items()
            if (seen := of.since(begins[runner]) if runner in begins else of)
        }


@dataclass(slots=True)
class Asked:
    """A valid request: its place, and its runners by their primary keys."""

    place: Place
    runners: list[int]
    refused: list[dict[str, str]]


def read_arrivals(
    request: ArrivalsRequest, user: int | None, links: Collection[int]
) -> bytes:
    """Return the answer to a viewer; raises `CodedError`.

    Causes four queries, and five more for runners without a recent prediction.
    """
    codes = [text for text in request.runners[:MAX_NAMED] if CODE.fullmatch(text)]
    visible = visible_field(request.slug, user, links, codes)
    answer = answers_to(visible, [request])[0][request]
    if isinstance(answer, CodedError):
        raise answer
    return answer


def visible_field(
    slug: str,
    user: int | None = None,
    links: Collection[int] = (),
    codes: Collection[str] | None = None,
) -> VisibleField:
    race = visible_race(slug, links)
    ground = ground_of(race)
    if ground.course is None:
        raise CodedError("race.no_course", "This race has no course yet.")
    shown = visible_runners(user, links).filter(
        pk__in=Entry.objects.shown().filter(race=race).values("runner")
    )
    named = shown if codes is None else shown.filter(code__in=codes)
    return VisibleField(
        race,
        ground,
        ground.course,
        shown,
        seen_in_race_from(race, user, links),
        dict(named.values_list("code", "pk")),
    )


def answers_to(
    visible: VisibleField, requests: Iterable[ArrivalsRequest]
) -> tuple[dict[ArrivalsRequest, bytes | CodedError], set[int]]:
    """Return the answers to requests, or their errors, and the runners in them."""
    found: dict[ArrivalsRequest, bytes | CodedError] = {}
    asked: dict[ArrivalsRequest, Asked] = {}
    for request in requests:
        try:
            asked[request] = _asked(visible, request)
        except CodedError as error:
            found[request] = error
    runners = {pk for of in asked.values() for pk in of.runners}
    predictions = visible.predictions(runners)
    slug, now = visible.race.slug, now_ms()
    for request, of in asked.items():
        passes = of.place.passes
        answer = {
            "race": slug,
            "time": now,
            "place": of.place.answer,
            "runners": [
                predictions[runner].answer(passes)
                for runner in of.runners
                if runner in predictions
            ],
            "refused": of.refused,
        }
        found[request] = orjson.dumps(answer)
    return found, runners


def _asked(visible: VisibleField, request: ArrivalsRequest) -> Asked:
    """Check a request; raises `CodedError`."""
    place = place_of(visible.course, request.at)
    if len(request.runners) > MAX_NAMED:
        raise CodedError(
            "request.invalid", f"At most {MAX_NAMED} runners in one request."
        )
    runners, refused = [], []
    for text in request.runners:
        if runner := visible.named.get(text):
            runners.append(runner)
        else:
            code = "runner.unknown" if CODE.fullmatch(text) else "runner.invalid"
            refused.append({"code": code, "runner": text[:80]})
    if not request.runners:
        runners = _coming(visible.seen, place.passes)
    return Asked(place, runners, refused)


def _seen(
    race: Race, shown: RunnerQuerySet, begins: Mapping[int, float]
) -> dict[int, float]:
    """Map the runners in the race to the last place where they were seen.

    Those whose last position is from before the viewer's right are left out.
    """
    started = Entry.objects.filter(race=race, status=Entry.Status.STARTED)
    runners = shown.filter(pk__in=started.values("runner"))
    by_phone = LatestPosition.objects.filter(
        runner__in=runners, recorded_at__lte=race.ends
    ).values_list("runner", "progress", "recorded_at")
    by_mat = (
        Split.objects.filter(entry__race=race, entry__runner__in=runners, by_mat=True)
        .values("entry__runner")
        .annotate(distance=Max("checkpoint__distance"))
        .values_list("entry__runner", "distance")
    )
    seen: dict[int, float] = {}
    unseen = set()
    for runner, progress, at in by_phone:
        if at.timestamp() < begins.get(runner, 0.0):
            unseen.add(runner)
        elif progress is not None:
            seen[runner] = progress
    for runner, distance in by_mat:
        if runner not in unseen:
            seen[runner] = max(seen.get(runner, 0.0), distance or 0.0)
    return seen


def _coming(seen: Mapping[int, float], passes: Sequence[float]) -> list[int]:
    """Return the runners who arrive next."""
    ahead = sorted(
        (min(left), runner)
        for runner, progress in seen.items()
        if (left := [p - progress for p in passes if p > progress])
    )
    return [runner for _, runner in ahead[:MAX_COMING]]
