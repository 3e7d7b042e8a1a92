from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _

from runners.models import Runner
from runners.notifying.sos import MAX_CONTACTS, contact_add
from runners.units.errors import CodedError
from runners.views.me.forms import ContactForm
from runners.views.me.page import back_to, own_form, own_page


@own_form
def add(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Choose an emergency contact."""
    form = ContactForm(request.POST, runner=runner, auto_id="contact_%s")
    if form.is_valid() and runner.contacts.count() >= MAX_CONTACTS:
        words = _("You can have at most {count} contacts. Remove one first.")
        form.add_error(None, words.format(count=MAX_CONTACTS))
    if not form.is_valid():
        return own_page(request, runner, contact_form=form)
    email, user = form.cleaned_data["who"], form.user
    try:
        contact = contact_add(
            runner=runner, email=email, user=user, language=request.LANGUAGE_CODE
        )
    except CodedError as error:
        form.add_error(None, error.detail)
        return own_page(request, runner, contact_form=form)
    except OSError:
        form.add_error(None, _("The email could not be sent. Try again later."))
        return own_page(request, runner, contact_form=form)
    words = (
        _("{name} receives an email, and is notified once they agree.")
        if email
        else _("{name} is notified if you call for help.")
    )
    messages.success(request, words.format(name=contact))
    return back_to("contacts")


@own_form
def remove(request: HttpRequest, runner: Runner, pk: int) -> HttpResponse:
    contact = get_object_or_404(runner.contacts, pk=pk)
    contact.delete()
    messages.success(request, _("{name} is no longer notified.").format(name=contact))
    return back_to("contacts")
