"""The page of a race on which its owner adds, changes and removes people."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import get_language

from runners.admin.race_pages import permitted_race, race_page
from runners.models import Race, RaceRole
from runners.models.race_role import Role
from runners.notifying.inviting import account_invite, person_invite, role_change
from runners.notifying.mail import is_offered
from runners.rights.roles import Action, may
from runners.units.errors import CodedError
from runners.views.account.security_log import record
from runners.views.numbers import whole_number

# Django's class accepts no type arguments at run time.
RaceAdmin: TypeAlias = "admin.ModelAdmin[Race]"
REMOVE = "remove"


class PersonForm(forms.Form):
    """The form that invites an account by its username, or an address."""

    person = forms.CharField(
        max_length=254,
        label="Mail address or username",
        help_text="An invitation can be accepted once, for seven days: by mail with "
        "any account, by username on the page “You” of the account that has it now.",
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.OFFICE)
    language = forms.ChoiceField(
        choices=settings.LANGUAGES, initial=get_language, label="Language of the mail"
    )

    def __init__(self, *args: Any, race: Race, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._race, self._by = race, by

    def clean_person(self) -> str:
        """Return the username, or the address: any text with an @ is one.

        Strangers choose their usernames, and may choose somebody's address. Whether an
        account has a username is revealed by the account, when it accepts.
        """
        text: str = self.cleaned_data["person"].strip()
        if "@" in text:
            return str(forms.EmailField().clean(text))
        if self._race.roles.filter(user__username__iexact=text).exists():
            raise ValidationError("This account has a role already: change it above.")
        return text

    def store(self) -> str:
        """Invite the person; return what was done. Raises ValidationError."""
        person, role = self.cleaned_data["person"], Role(self.cleaned_data["role"])
        try:
            if "@" in person:
                person_invite(
                    race=self._race,
                    email=person,
                    role=role,
                    invited_by=self._by,
                    language=self.cleaned_data["language"],
                )
            else:
                account_invite(
                    race=self._race, username=person, role=role, invited_by=self._by
                )
        except CodedError as error:
            raise ValidationError(error.detail) from error
        except OSError as error:
            detail = "The mail server does not respond. Try again in a moment."
            raise ValidationError(detail) from error
        return f"Invited {person} as {role.label}."


def people(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """List the people of a race; invite, change (`held`) or withdraw (`invited`)."""
    race = permitted_race(request, pk, Action.PEOPLE)
    posted = request.POST if request.method == "POST" else None
    if posted and ("held" in posted or "invited" in posted):
        change = _change_role if "held" in posted else _withdraw
        return _back(race_admin, request, race, change(request, race))
    form = PersonForm(posted, race=race, by=cast(User, request.user))
    if form.is_valid():
        try:
            return _back(race_admin, request, race, form.store())
        except ValidationError as error:
            form.add_error("person", error)
    context = {
        "form": form,
        "held": race.roles.select_related("user"),
        "invitations": race.invitations.select_related("invited_by"),
        "choices": Role.choices,
        "remove": REMOVE,
        "mails": is_offered(),
    }
    return race_page(race_admin, request, race, "people", "People", **context)


def _change_role(request: HttpRequest, race: Race) -> str:
    """Change or remove the person `held`; return what was done, "" for nothing."""
    pk, chosen = whole_number(request.POST["held"]), request.POST.get("role", "")
    held = get_object_or_404(race.roles.select_related("user"), pk=pk)
    if chosen != REMOVE and chosen not in Role.values:
        messages.error(request, f"There is no role {chosen!r}.")
        return ""
    try:
        role_change(held=held, role=None if chosen == REMOVE else Role(chosen))
    except CodedError as error:
        messages.error(request, error.detail)
        return ""
    return _done(held, chosen)


def _done(held: RaceRole, chosen: str) -> str:
    if chosen == REMOVE:
        return f"Removed {held.user}."
    return f"Changed {held.user} to {Role(chosen).label}."


def _withdraw(request: HttpRequest, race: Race) -> str:
    """Withdraw an invitation, whose link ends."""
    pk = whole_number(request.POST["invited"])
    invitation = get_object_or_404(race.invitations, pk=pk)
    invitation.delete()
    return f"Withdrew the invitation of {invitation}."


def _back(
    race_admin: RaceAdmin, request: HttpRequest, race: Race, done: str
) -> HttpResponse:
    """Log and show what was done on the page, or on the index if it is closed now."""
    user = cast(User, request.user)
    if done:
        race_admin.log_change(request, race, done)
        record(request, f"changed the people of race {race.pk} as", user)
        messages.success(request, done)
    if not may(user, race, Action.PEOPLE):
        return HttpResponseRedirect(reverse("admin:index"))
    return HttpResponseRedirect(reverse("admin:runners_race_people", args=[race.pk]))
