"""The bell of a live page: the alerts of this browser, or of the account's mailbox."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import HttpRequest, JsonResponse
from django.middleware.csrf import get_token
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from runners.models import Entry, Runner, ShareLink, Subscription
from runners.models.news import KINDS, Kind
from runners.notifying import mail
from runners.notifying.arrival_alerts import arrival_alerts_set
from runners.notifying.subscribing import (
    MAX_ALERTS,
    address_of,
    alerts_of,
    alerts_set,
    browser_known,
    browser_subscribe,
)
from runners.notifying.webpush import public_key
from runners.rights.access import visible_runners
from runners.units.errors import CodedError
from runners.views.live_json import Refused, link_in_header
from runners.views.races.requests import requested_race

# Limit of a request: a hundred codes and a push subscription.
MOST_BYTES = 16 * 1024
DEVICE_LENGTH = 60
# Longer than any race.
MAX_DISTANCE_M = 1_000_000


@never_cache
@require_safe
def bell_json(request: HttpRequest) -> JsonResponse:
    """Return the data with which a page offers the choice."""
    user = _user(request)
    address = address_of(user)
    return JsonResponse(
        {
            "csrf": get_token(request),
            "key": public_key(),
            "kinds": [[kind.value, kind.label] for kind in KINDS],
            "signedIn": user is not None,
            "mailOffered": mail.is_offered(),
            "mail": address.email if address else None,
        }
    )


@never_cache
@sensitive_variables("choice", "push")
@require_POST
def choose(request: HttpRequest) -> JsonResponse:
    """Store a choice and return the alerts: kinds by code, for push and mail.

    `{push: PushSubscription | null, device: text, browser: bool, mail: bool, runners:
    [code], kinds: [kind]}`: `browser` and `mail` select the places of the alerts.
    Without `runners` nothing is changed. Runners whom the viewer may not see are
    refused as unknown.
    """
    try:
        choice = _read(request)
        push = choice.get("push")
        if runners := choice.get("runners", []):
            _choose(request, choice, runners)
    except Refused as error:
        return _refusal(error.code, error.detail, error.status)
    except CodedError as error:
        return _refusal(error.code, error.detail, HTTPStatus.BAD_REQUEST)
    subscription = browser_known(push) if isinstance(push, dict) else None
    user = _user(request)
    if subscription is not None and subscription.user != user:
        subscription = None
    return JsonResponse(
        {"push": alerts_of(subscription), "mail": alerts_of(address_of(user))}
    )


def _choose(request: HttpRequest, choice: dict[str, Any], codes: list[str]) -> None:
    kinds = [kind for kind in KINDS if kind.value in choice.get("kinds", [])]
    user, push = _user(request), choice.get("push")
    if isinstance(push, dict):
        here = kinds if choice.get("browser") is True else []
        if here or browser_known(push) is not None:
            _set(request, _subscribe(request, choice, push), codes, here)
    if (address := address_of(user)) is not None:
        _set(request, address, codes, kinds if choice.get("mail") is True else [])


@never_cache
@sensitive_variables("choice", "push")
@require_POST
def choose_arrivals(request: HttpRequest) -> JsonResponse:
    """Notify this browser before these runners pass a place; return `{arrivals: n}`.

    `{push: PushSubscription, device: text, race: slug, distances: [metres], runners:
    [code]}` replaces the choice before. Without `runners`, the browser is notified
    of no arrival. Runners whom the viewer may not see are refused as unknown.
    """
    try:
        choice = _read(request)
        push, codes = choice.get("push"), choice.get("runners", [])
        if not isinstance(push, dict):
            raise CodedError("message.invalid", "`push` is a push subscription.")
        if not codes and browser_known(push) is None:
            return JsonResponse({"arrivals": 0})
        distances = _distances(choice)
        chosen = _entries(request, choice, codes) if codes else []
        subscription = _subscribe(request, choice, push)
        arrival_alerts_set(
            subscription=subscription, chosen=chosen, distances=distances
        )
    except Refused as error:
        return _refusal(error.code, error.detail, error.status)
    except CodedError as error:
        return _refusal(error.code, error.detail, HTTPStatus.BAD_REQUEST)
    return JsonResponse({"arrivals": subscription.arrival_alerts.count()})


def _entries(
    request: HttpRequest, choice: dict[str, Any], codes: list[str]
) -> list[tuple[QuerySet[Entry], ShareLink | None]]:
    """Return the entries of visible runners in a race that the viewer may know."""
    race, _links = requested_race(request, str(choice.get("race", "")))
    shown = Entry.objects.shown().filter(race=race)
    return [
        (shown.filter(runner__in=runners), link)
        for runners, link in _seen(request, codes)
    ]


def _distances(choice: dict[str, Any]) -> list[float]:
    """Return the distances of a choice, in metres. Raises `CodedError`."""
    found = choice.get("distances", [])
    if not isinstance(found, list) or not all(
        type(value) in (int, float) and 0 <= value <= MAX_DISTANCE_M for value in found
    ):
        raise CodedError("message.invalid", "`distances` is a list of metres.")
    return sorted({round(float(value), 1) for value in found})


def _subscribe(
    request: HttpRequest, choice: dict[str, Any], push: dict[str, Any]
) -> Subscription:
    user = _user(request)
    device = "".join(filter(str.isprintable, str(choice.get("device", ""))))
    return browser_subscribe(
        push=push,
        user=user,
        session=(request.session.session_key or "") if user else "",
        device=device[:DEVICE_LENGTH],
        language=request.LANGUAGE_CODE,
        address=request.META.get("REMOTE_ADDR", ""),
    )


def _set(
    request: HttpRequest,
    subscription: Subscription,
    codes: list[str],
    kinds: list[Kind],
) -> None:
    """Set alerts for runners whom the viewer sees, each by the least right needed."""
    if not kinds:
        # Alerts of runners who are no longer visible can be removed too.
        alerts_set(
            subscription=subscription,
            runners=Runner.objects.filter(code__in=codes),
            kinds=(),
        )
        return
    for runners, link in _seen(request, codes):
        alerts_set(subscription=subscription, runners=runners, kinds=kinds, link=link)


def _seen(
    request: HttpRequest, codes: list[str]
) -> list[tuple[QuerySet[Runner], ShareLink | None]]:
    """Return the runners whom the viewer sees, and those seen only by their link."""
    link = link_in_header(request)
    seen = visible_runners(request.user.pk).filter(code__in=codes)
    by_link = (
        visible_runners(request.user.pk, [link.pk])
        .filter(code__in=codes)
        .exclude(pk__in=seen.values("pk"))
        if link is not None
        else Runner.objects.none()
    )
    if not seen and not by_link:
        raise Refused(
            HTTPStatus.NOT_FOUND,
            "runner.unknown",
            _("There is no such runner, or they are not shown to you."),
        )
    return [(seen, None), (by_link, link)]


def _read(request: HttpRequest) -> dict[str, Any]:
    if len(request.body) > MOST_BYTES:
        raise CodedError(
            "message.too_big", f"The body may have at most {MOST_BYTES:,} bytes."
        )
    try:
        choice = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        choice = None
    if not isinstance(choice, dict):
        raise CodedError("message.invalid", "Send a JSON object.")
    for name in ("runners", "kinds"):
        words = choice.get(name, [])
        if not isinstance(words, list) or not all(map(_is_word, words)):
            raise CodedError("message.invalid", f"`{name}` is a list of words.")
    if len(choice.get("runners", [])) > MAX_ALERTS:
        detail = _("You can have alerts for at most {count} runners. Stop some first.")
        raise CodedError("alerts.limit", detail.format(count=MAX_ALERTS))
    return choice


def _is_word(value: object) -> bool:
    # PostgreSQL accepts no text with a NUL byte.
    return isinstance(value, str) and "\0" not in value


def _user(request: HttpRequest) -> User | None:
    return request.user if request.user.is_authenticated else None


def _refusal(code: str, detail: str, status: int) -> JsonResponse:
    return JsonResponse({"code": code, "detail": detail}, status=status)


@receiver(user_logged_out)
def _forget_browser(request: HttpRequest, **kwargs: Any) -> None:
    # Alerts that depend on the rights of an account end when it signs out there.
    if key := request.session.session_key:
        Subscription.objects.filter(session=key).exclude(user=None).delete()
