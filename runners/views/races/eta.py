"""Arrival times of runners at a point of the course, as JSON."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, QueryDict

from runners import database
from runners.serving.bodies import Scope
from runners.serving.process import current
from runners.subscriptions.arrival_answers import ArrivalsRequest, read_arrivals
from runners.units.errors import CodedError
from runners.views.anybody import PublicRequest, Response, before_django
from runners.views.live_json import Refused, link_in_header
from runners.views.policy import read_only
from runners.views.races.requests import answers_json

NOT_FOUND = ("race.unknown", "race.no_course")
# A page repeats its query, and parsing takes a fifth of the CPU of an answer. That of
# three runners has 40 bytes. Longer ones are not kept, whose sum would have no limit.
QUERIES_KEPT = 16_384
LONGEST_KEPT = 256


@read_only
@answers_json
async def eta_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Return when runners pass a point (docs/protocol.md).

    `?at=METRES` or `?at=LAT,LNG`, with `&runners=CODE,CODE` for these runners,
    otherwise those who arrive next. `refused` lists runners who may not be seen or are
    not in the race.
    """
    user = await request.auser()
    link = link_in_header(request)
    links = [] if link is None else [link.pk]
    wanted = _arrivals_request(slug, request.GET)
    try:
        body = await database.read(read_arrivals, wanted, user.pk, links)
    except CodedError as error:
        raise _refused(error) from None
    return HttpResponse(body, content_type="application/json")


def _arrivals_request(slug: str, query: QueryDict) -> ArrivalsRequest:
    texts = dict.fromkeys(",".join(query.getlist("runners")).split(","))
    texts.pop("", None)
    return ArrivalsRequest(slug, query.get("at", ""), tuple(texts))


def _refused(error: CodedError) -> Refused:
    missing = error.code in NOT_FOUND
    status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.BAD_REQUEST
    return Refused(status, error.code, error.detail)


# -- before Django: a crowd asks several hundred times per second


@lru_cache(maxsize=QUERIES_KEPT)
def _parsed(slug: str, query: str) -> ArrivalsRequest:
    return _arrivals_request(slug, QueryDict(query))


async def _answer_anybody(scope: Scope, request: PublicRequest) -> Response:
    slug, query = request.parts["slug"], request.query
    short = len(slug) + len(query) <= LONGEST_KEPT
    wanted = (_parsed if short else _parsed.__wrapped__)(slug, query)
    try:
        body = await current().arrival_reads.answer(wanted)
    except CodedError as error:
        refused = _refused(error)
        return refused.status, request.headers, refused.response().content
    return HTTPStatus.OK, request.headers, body


with_arrivals = before_django("/eta.json", "eta_json", _answer_anybody)
