"""Who sends a request: the key, its rights, its rate and its races."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone
from ninja.security import APIKeyQuery, HttpBearer

from runners.api.problems import Problem
from runners.models import ApiKey, Race
from runners.models.runner import token_digest
from runners.quotas import network_of, over_quota
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
    _check_rights(key, reads=request.method in READING)
    _record_use(key)
    return key


def _check_rights(key: ApiKey, *, reads: bool) -> None:
    if not reads and not key.can_write:
        raise Problem(403, "key.read_only", "This key may read only.")
    require(key, "view_race" if reads else "change_race")


def require(key: ApiKey, permission: str) -> None:
    """Raise `Problem` unless the key's account has a permission."""
    if not key.account.has_perm(f"runners.{permission}"):
        raise Problem(
            *(403, "permission.missing"),
            f"The account of this key does not have the permission {permission}.",
        )


def _record_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > LAST_USE_PRECISION:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def key_of(request: HttpRequest) -> ApiKey:
    """Return the key of an authenticated request."""
    key: ApiKey = request.auth  # type: ignore[attr-defined]
    return key


def race_of(request: HttpRequest, slug: str, *, lock: bool = False) -> Race:
    """Return a race without its line; raise `Problem` if the key has no access to it.

    `lock`: until the end of the transaction.
    """
    races = key_of(request).races().defer("line").filter(slug=slug)
    race = (races.select_for_update(of=("self",)) if lock else races).first()
    if race is None:
        raise unknown_race()
    return race


def unknown_race() -> Problem:
    return Problem(
        *(404, "race.unknown"),
        "There is no such race, or this key gives no access to it.",
    )
