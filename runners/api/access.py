"""Who sends a request: the key, its rights, its rate and its races."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone
from ninja.security import APIKeyQuery, HttpBearer

from runners.api.problems import Problem
from runners.models import ApiKey, Race
from runners.models.race import RaceQuerySet
from runners.models.runner import token_digest
from runners.quotas import network_of, over_quota
from runners.rights.roles import Action, races_of
from runners.views.throttle import record_failure

REQUESTS_PER_MINUTE = 600
# An exporter posts each passing separately; hundreds cross a start per minute.
POSTS_PER_MINUTE = 6_000
PERIOD_S = 60
LAST_USE_PRECISION = timedelta(minutes=1)
READING = ("GET", "HEAD", "OPTIONS")


class KeyInHeader(HttpBearer):
    """Authenticates a request by `Authorization: Bearer KEY`; raises `Problem`."""

    openapi_description = "An API key, which an organiser creates in the race office."

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        return _authenticated(request, token, "api key", REQUESTS_PER_MINUTE)


class KeyInQuery(APIKeyQuery):
    """Authenticates a request by `?key=KEY`, for systems that set no headers."""

    param_name = "key"
    openapi_description = "An API key, for systems that cannot set headers."

    def authenticate(self, request: HttpRequest, key: str | None) -> ApiKey | None:
        if not key:
            return None
        return _authenticated(request, key, "exporter", POSTS_PER_MINUTE)


def _authenticated(
    request: HttpRequest, token: str, what: str, limit: int
) -> ApiKey | None:
    found = ApiKey.objects.usable().select_related("account")
    key = found.filter(digest=token_digest(token)).first()
    if key is None:
        record_failure(request, network_of(request.META.get("REMOTE_ADDR", "")))
        return None
    if over_quota(f"{what} {key.pk}", limit, PERIOD_S):
        raise Problem(
            *(429, "rate.limited"),
            f"A key may send {limit} requests per minute.",
            Retry_After=str(PERIOD_S),
        )
    if request.method not in READING and not key.can_write:
        raise Problem(403, "key.read_only", "This key may read only.")
    _record_use(key)
    return key


def races_of_key(key: ApiKey, action: Action = Action.VIEW) -> RaceQuerySet:
    """Return the races for which a key may do something, as its account may."""
    races = races_of(key.account, action)
    match key.scope:
        case ApiKey.Scope.INSTALLATION:
            return races
        case ApiKey.Scope.ORGANISER:
            return races.filter(roles__user=key.account_id)
    return races.filter(api_keys=key)


def _record_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > LAST_USE_PRECISION:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def key_of(request: HttpRequest) -> ApiKey:
    """Return the key of an authenticated request."""
    key: ApiKey = request.auth  # type: ignore[attr-defined]
    return key


def race_of(
    request: HttpRequest, slug: str, action: Action, *, lock: bool = False
) -> Race:
    """Return a race without its line; raise `Problem` unless the key may do this.

    `lock`: until the end of the transaction. Rows with a foreign key to the race can
    still be inserted.
    """
    key = key_of(request)
    races = races_of_key(key, action).defer("line").filter(slug=slug)
    if lock:
        races = races.select_for_update(of=("self",), no_key=True)
    race = races.first()
    if race is not None:
        return race
    if races_of_key(key).filter(slug=slug).exists():
        raise forbidden(f"{action.label.lower()}, in this race")
    raise unknown_race()


def forbidden(what: str) -> Problem:
    return Problem(
        *(403, "permission.missing"), f"The account of this key may not: {what}."
    )


def unknown_race() -> Problem:
    return Problem(
        *(404, "race.unknown"),
        "There is no such race, or this key gives no access to it.",
    )
