"""What an account is told, where: to look at, and to stop."""

from __future__ import annotations

from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from runners.models import Alert, Subscription
from runners.notifying import mail
from runners.notifying.subscribing import ChoiceRefused, address_add


class AddressForm(forms.Form):
    email = forms.EmailField(
        label="Mail address",
        max_length=254,
        help_text="It gets one mail, with a link that turns it on.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


@never_cache
@login_required
@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    return _page(request, AddressForm(auto_id="address_%s"))


@never_cache
@login_required
@require_POST
def address(request: HttpRequest) -> HttpResponse:
    """Ask the owner of an address."""
    form = AddressForm(request.POST, auto_id="address_%s")
    if form.is_valid():
        try:
            place = address_add(
                user=cast(User, request.user), email=form.cleaned_data["email"]
            )
        except ChoiceRefused as error:
            form.add_error(None, error.detail)
        except OSError:
            form.add_error(
                None, "The mail could not be sent just now. Add it again in a while."
            )
        else:
            messages.success(
                request,
                f"{place.email} is on already."
                if place.confirmed_at
                else f"A mail is on its way to {place.email}. Open the link in it.",
            )
            return redirect("notifications")
    return _page(request, form)


@never_cache
@login_required
@require_POST
def stop_place(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell nothing more at a browser or an address."""
    place = get_object_or_404(Subscription, user=request.user, pk=pk)
    place.delete()
    messages.success(request, f"{place} is told nothing any more.")
    return redirect("notifications")


@never_cache
@login_required
@require_POST
def stop_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell nothing more of one runner there."""
    alert = get_object_or_404(
        Alert.objects.select_related("runner", "subscription"),
        subscription__user=request.user,
        pk=pk,
    )
    alert.delete()
    messages.success(request, f"{alert.subscription} is not told of {alert.runner}.")
    return redirect("notifications")


def _page(request: HttpRequest, form: AddressForm) -> HttpResponse:
    places = Subscription.objects.filter(user=request.user.pk).prefetch_related(
        "alerts__runner"
    )
    context = {"places": places, "form": form, "mail_offered": mail.is_offered()}
    return render(request, "runners/me/notifications.html", context)
