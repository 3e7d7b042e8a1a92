"""The pages of links in mails, without a sign-in: confirm and unsubscribe."""

from __future__ import annotations

from http import HTTPStatus

from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from runners.models import Contact, SuppressedAddress
from runners.notifying.mail import confirmed_recipient, stopped_address
from runners.notifying.subscribing import address_confirm
from runners.notifying.suppression import address_suppress


@never_cache
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, signed: str) -> HttpResponse:
    """Stop all mails to the address of a link.

    By POST, as programs open links in mails. Exempt from the CSRF check: mail programs
    post here automatically (RFC 8058), and the link is the authorization.
    """
    try:
        address = stopped_address(signed)
    except BadSignature:
        return _incomplete(request)
    if is_stopped := request.method == "POST":
        address_suppress(address=address, reason=SuppressedAddress.Reason.UNSUBSCRIBED)
    context = {"address": address, "is_stopped": is_stopped}
    return render(request, "runners/notifications/stop.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, signed: str) -> HttpResponse:
    """Confirm an address for its owner."""
    try:
        recipient = confirmed_recipient(signed)
    except BadSignature:
        return _incomplete(request)
    if recipient is None:
        return _incomplete(request)
    if request.method == "POST":
        address_confirm(recipient=recipient)
    context = {"place": recipient, "is_contact": isinstance(recipient, Contact)}
    return render(request, "runners/notifications/confirm.html", context)


def _incomplete(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "runners/notifications/incomplete.html",
        status=HTTPStatus.NOT_FOUND,
    )
