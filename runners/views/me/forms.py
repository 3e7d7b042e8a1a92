from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth.models import User
from django.core.validators import RegexValidator, validate_email
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from runners.models import Follow, Runner
from runners.models.race import timezones
from runners.models.runner import CODE_PATTERN
from runners.notifying.mail import is_offered

if TYPE_CHECKING:
    RunnerModelForm = forms.ModelForm[Runner]
else:  # Django's class accepts no type arguments at run time.
    RunnerModelForm = forms.ModelForm

Visibility = Runner.Visibility

VISIBILITIES = [
    (Visibility.PUBLIC, _("Everybody")),
    (Visibility.FOLLOWERS, _("Followers I accepted")),
    (Visibility.PRIVATE, _("Nobody, except by a share link")),
]
# How long a link is valid, in hours.
LASTS = [
    ("1", _("1 hour")),
    ("6", _("6 hours")),
    ("24", _("1 day")),
    ("168", _("1 week")),
]
# Limit of zones, because every fix of a runner is checked against each.
MOST_ZONES = 20


class BecomeRunnerForm(RunnerModelForm):
    """A name, the code for links, and who may see the runner."""

    code = forms.CharField(
        label=_("Code"),
        max_length=40,
        required=False,
        error_messages={"unique": _("This code is taken. Choose a different one.")},
        validators=[
            RegexValidator(
                rf"\A{CODE_PATTERN}\Z",
                _("Use 1 to 40 letters, digits, hyphens and underscores."),
            )
        ],
        help_text=_(
            "Identifies you in links: /runners/CODE/. It cannot be changed later. "
            "Leave it empty to derive it from your name."
        ),
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    visibility = forms.ChoiceField(
        label=_("Who sees you on the map"),
        choices=VISIBILITIES,
        initial=Visibility.FOLLOWERS,
        widget=forms.RadioSelect,
        help_text=_("You can change this at any time."),
    )

    class Meta:
        model = Runner
        fields = ("name", "code", "visibility")
        labels: ClassVar = {"name": _("Name")}
        widgets: ClassVar = {"name": forms.TextInput(attrs={"autocomplete": "name"})}

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        return code or suggested_code(self.cleaned_data.get("name", ""))


def suggested_code(name: str) -> str:
    """Return a free code for a name: "Bob Marsh" → "bob-marsh", "bob-marsh-2"."""
    base = slugify(name)[:36].strip("-_") or "runner"
    taken = set(
        Runner.objects.filter(code__startswith=base).values_list("code", flat=True)
    )
    number, code = 1, base
    while code in taken:
        number += 1
        code = f"{base}-{number}"
    return code


class VisibilityForm(forms.Form):
    visibility = forms.ChoiceField(label=_("Who sees you"), widget=forms.RadioSelect)

    def __init__(self, *args: Any, runner: Runner, **kwargs: Any) -> None:
        kwargs["initial"] = {"visibility": runner.visibility}
        super().__init__(*args, **kwargs)
        choices = list(VISIBILITIES)
        if runner.visibility == Visibility.RACE or runner.entries.exists():
            choices.insert(
                2, (Visibility.RACE, _("Everybody, but only during my races"))
            )
        field = self.fields["visibility"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices


class EndForm(forms.Form):
    """The end of sharing; `zone` is the time zone of the browser, for "today"."""

    lasts = forms.ChoiceField(
        choices=[("1", "1 h"), ("6", "6 h"), ("today", "Today"), ("never", "Never")]
    )
    zone = forms.CharField(required=False)

    def ends(self) -> datetime | None:
        """Return the moment, None for never."""
        lasts, now = self.cleaned_data["lasts"], timezone.now()
        if lasts == "never":
            return None
        if lasts != "today":
            return now + timedelta(hours=int(lasts))
        name = self.cleaned_data["zone"]
        known = name in timezones()
        here = now.astimezone(zoneinfo.ZoneInfo(name if known else "UTC"))
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=1)


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=60,
        label=_("Which phone or app is it for?"),
        help_text=_("Tells you later which one to revoke."),
    )


class LinkForm(forms.Form):
    label = forms.CharField(
        max_length=80,
        label=_("Who is it for?"),
        help_text=_("Only you see this."),
    )
    lasts = forms.ChoiceField(label=_("How long is it valid?"), initial="6")
    pin = forms.CharField(
        label=_("PIN (optional)"),
        required=False,
        validators=[RegexValidator(r"\A[0-9]{6,12}\Z", _("Use 6 to 12 digits."))],
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        help_text=_("6 to 12 digits. Everybody who opens the link needs it."),
    )
    earlier = forms.BooleanField(
        label=_("Include earlier positions"),
        required=False,
        help_text=_("Without this, the link shows where you are from now on."),
    )

    def __init__(self, *args: Any, runner: Runner, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.race = (
            runner.entries.filter(race__ends__gt=timezone.now())
            .select_related("race")
            .order_by("race__ends")
            .first()
        )
        choices: list[tuple[str, Any]] = list(LASTS)
        if self.race is not None:
            until = _("Until {race} ends").format(race=self.race.race)
            choices.append(("race", until))
        field = self.fields["lasts"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def expires_at(self) -> datetime:
        lasts = self.cleaned_data["lasts"]
        if lasts == "race" and self.race is not None:
            return self.race.race.ends
        return timezone.now() + timedelta(hours=int(lasts))


# Per cent of simulated homes found within 50 m, from 20 runs in new directions and from
# two rounds, by radius in metres (bench/zones/results.csv).
HOMES_FOUND = {100: (54, 33), 200: (25, 6), 300: (12, 4)}


class ZoneForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=40, initial=_("Home"))
    lat = forms.FloatField(
        label=_("Latitude"),
        min_value=-90,
        max_value=90,
        widget=forms.NumberInput(attrs={"step": "any", "placeholder": "53.35660"}),
    )
    lng = forms.FloatField(
        label=_("Longitude"),
        min_value=-180,
        max_value=180,
        widget=forms.NumberInput(attrs={"step": "any", "placeholder": "-6.32850"}),
    )
    radius = forms.FloatField(
        label=_("Radius in metres"),
        min_value=100,
        max_value=5000,
        initial=300,
        help_text=_("100 to 5,000. A larger radius hides the place better."),
        widget=forms.NumberInput(attrs={"step": 50}),
    )


class ContactForm(forms.Form):
    """A mail address, or a follower that the runner has accepted."""

    who = forms.CharField(
        max_length=254,
        label=_("Email address, or name of a follower"),
        help_text=_(
            "An address receives one email, and is used once its owner agrees."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )

    def __init__(self, *args: Any, runner: Runner, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runner = runner
        self.user: User | None = None

    def clean_who(self) -> str:
        who: str = self.cleaned_data["who"].strip()
        if "@" in who:
            validate_email(who)
            if not is_offered():
                raise forms.ValidationError(
                    _("This server does not send emails. Choose one of your followers.")
                )
            return who
        follow = (
            self._runner.followers.filter(
                status=Follow.Status.ACCEPTED, user__username=who
            )
            .select_related("user")
            .first()
        )
        if follow is None:
            raise forms.ValidationError(
                _("None of your followers has that name. Use an email address.")
            )
        self.user = follow.user
        return ""


class ConfirmForm(forms.Form):
    """A word to type, which confirms an irreversible action."""

    confirm = forms.CharField(
        required=False,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )

    def __init__(self, *args: Any, word: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.word = word
        self.fields["confirm"].label = _("Type {word} to continue").format(word=word)

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"].strip()
        if typed != self.word:
            raise forms.ValidationError(
                _("Nothing was deleted. Type exactly {word} to continue.").format(
                    word=self.word
                )
            )
        return typed
