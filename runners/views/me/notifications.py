"""The notifications of an account: list and stop them."""

from __future__ import annotations

from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from runners.models import Alert, Subscription
from runners.notifying import mail
from runners.notifying.subscribing import address_add
from runners.units.errors import CodedError
from runners.views.me.page import first_error_focused, form_of


class AddressForm(forms.Form):
    email = forms.EmailField(
        label=gettext_lazy("Email address"),
        max_length=254,
        help_text=gettext_lazy("It gets one email with a link that confirms it."),
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


@never_cache
@login_required
@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    return _page(request, AddressForm(auto_id="address_%s"))


@never_cache
@login_required
@form_of("notifications")
def address(request: HttpRequest) -> HttpResponse:
    """Ask the owner of an address for confirmation."""
    form = AddressForm(request.POST, auto_id="address_%s")
    if form.is_valid():
        try:
            subscription = address_add(
                user=cast(User, request.user),
                email=form.cleaned_data["email"],
                language=request.LANGUAGE_CODE,
            )
        except CodedError as error:
            form.add_error(None, error.detail)
        except OSError:
            form.add_error(
                None, _("The email could not be sent. Add the address again later.")
            )
        else:
            words = (
                _("{address} is set up already.")
                if subscription.confirmed_at
                else _("An email has been sent to {address}. Open the link in it.")
            )
            messages.success(request, words.format(address=subscription.email))
            return redirect("notifications")
    return _page(request, form)


@never_cache
@login_required
@form_of("notifications")
def stop_notifications(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop all notifications at a browser or an address."""
    subscription = get_object_or_404(Subscription, user=request.user, pk=pk)
    subscription.delete()
    messages.success(
        request, _("{place} gets no more notifications.").format(place=subscription)
    )
    return redirect("notifications")


@never_cache
@login_required
@form_of("notifications")
def stop_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop notifications about one runner there."""
    alert = get_object_or_404(
        Alert.objects.select_related("runner", "subscription"),
        subscription__user=request.user,
        pk=pk,
    )
    alert.delete()
    words = _("{place} gets no more notifications about {name}.")
    messages.success(request, words.format(place=alert.subscription, name=alert.runner))
    return redirect("notifications")


def _page(request: HttpRequest, form: AddressForm) -> HttpResponse:
    subscriptions = Subscription.objects.filter(user=request.user.pk).prefetch_related(
        "alerts__runner"
    )
    context = {
        "places": subscriptions,
        "form": first_error_focused(form),
        "mail_offered": mail.is_offered(),
    }
    return render(request, "runners/me/notifications.html", context)
