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
from runners.notifying.inviting import person_invite, role_change
from runners.notifying.mail import is_offered
from runners.rights.roles import Action, may, role_set
from runners.units.errors import CodedError
from runners.views.account.security_log import record
from runners.views.numbers import whole_number

# Django's class accepts no type arguments at run time.
RaceAdmin: TypeAlias = "admin.ModelAdmin[Race]"
REMOVE = "remove"


class PersonForm(forms.Form):
    """The form that adds an account by its username, or invites an address."""

    person = forms.CharField(
        max_length=254,
        label="Mail address or username",
        help_text="An address gets an invitation, which can be accepted once, with any "
        "account, for seven days. An account with this username is added right away.",
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.OFFICE)
    language = forms.ChoiceField(
        choices=settings.LANGUAGES, initial=get_language, label="Language of the mail"
    )

    def __init__(self, *args: Any, race: Race, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._race, self._by = race, by

    def clean_person(self) -> User | str:
        """Return the account, or the address: any text with an @ is one.

        Strangers choose their usernames, and may choose somebody's address.
        """
        text: str = self.cleaned_data["person"].strip()
        if "@" in text:
            return str(forms.EmailField().clean(text))
        user = User.objects.filter(username=text, is_active=True).first()
        if user is None:
            raise ValidationError("There is no account with this username.")
        if self._race.roles.filter(user=user).exists():
            raise ValidationError("This account has a role already: change it above.")
        return user

    def store(self) -> str:
        """Add or invite the person; return what was done. Raises ValidationError."""
        person, role = self.cleaned_data["person"], Role(self.cleaned_data["role"])
        if isinstance(person, User):
            role_set(race=self._race, user=person, role=role)
            return f"Added {person} as {role.label}."
        try:
            person_invite(
                race=self._race,
                email=person,
                role=role,
                invited_by=self._by,
                language=self.cleaned_data["language"],
            )
        except CodedError as error:
            raise ValidationError(error.detail) from error
        except OSError as error:
            detail = "The mail server does not respond. Try again in a moment."
            raise ValidationError(detail) from error
        return f"Invited {person} as {role.label}."


def people(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """List the people of a race; add one, change one (`held`), withdraw (`invited`)."""
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
    return f"Withdrew the invitation of {invitation.email}."


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
