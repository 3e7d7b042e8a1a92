"""Converts rows of a start list to entries, and to new runners where needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.text import slugify
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.results import Result
from import_export.widgets import Widget

from runners.models import Entry, News, Race, Runner
from runners.models.runner import CODE_PATTERN, RunnerQuerySet, palette_colour
from runners.startlist.spreadsheet import NUMBER

# The longest text by column.
LONGEST = {"bib": 12, "name": 80, "category": 40, "club": 60, "mail": 254}
VISIBILITIES = {choice.value: choice for choice in Runner.Visibility}
ESTIMATES = {"yes": True, "no": False}
Row = dict[str, Any]


class YesNo(Widget):  # type: ignore[misc]
    """Writes whether something is so as a start list has it."""

    def render(self, value: bool, obj: Any = None, **kwargs: Any) -> str:
        return "yes" if value else "no"


class StartListResource(ModelResource):  # type: ignore[misc]
    """The start list of one race.

    A row is matched by its code if it has one, otherwise by its bib. A runner with an
    account keeps their own name and visibility, and is shown once they accept a new
    entry. Runners who are not `managed` by whoever imports keep theirs too. An empty
    code, name, visibility, estimate or mail leaves the stored value; a column that the
    file does not have leaves all of them. Who gets a different mail address has not got
    the set-up link, and the link to the former address ends.
    """

    bib = Field("bib", "bib")
    name = Field("runner__name", "name")
    code = Field("runner__code", "code")
    category = Field("category", "category")
    club = Field("club", "club")
    wave = Field("wave__name", "wave")
    visibility = Field("runner__visibility", "visibility")
    estimate = Field("shows_estimate", "estimate", widget=YesNo())
    mail = Field("mail", "mail")
    status = Field("status", "status", readonly=True)

    class Meta:
        model = Entry
        fields: ClassVar = [
            *("bib", "name", "code", "category", "club", "wave", "visibility"),
            *("estimate", "mail", "status"),
        ]
        import_id_fields = ("bib",)
        clean_model_instances = False
        skip_unchanged = True
        skip_html_diff = True
        # The import checks rows against these lists and writes them at once.
        use_bulk = True
        batch_size = None
        store_instance = True

    def __init__(self, race: Race, managed: RunnerQuerySet) -> None:
        super().__init__()
        self._managed = managed.filter(account=None)
        self._renamed = self._pks(entries__race=race.pk)
        self.create_instances: list[Entry] = []
        self.update_instances: list[Entry] = []
        self._race = race
        self._waves = {wave.name.lower(): wave for wave in race.waves.all()}
        # A separate query, because each row is copied and would include the course.
        entries = list(
            Entry.objects.filter(race=race.pk).select_related("runner", "wave")
        )
        self._by_bib = {entry.bib: entry for entry in entries}
        self._by_runner = {entry.runner_id: entry for entry in entries}
        self._readdressed: set[int | None] = set()
        self._runners: dict[str, Runner] = {}
        self._codes: set[str] = set()
        # The first row of the file with a bib or code.
        self._rows_of_bib: dict[str, int] = {}
        self._rows_of_code: dict[str, int] = {}

    def _pks(self, **which: Any) -> set[int]:
        return set(self._managed.filter(**which).values_list("pk", flat=True))

    def before_import(self, dataset: Any, **kwargs: Any) -> None:
        """Load the runners of the file who exist, and the codes that are taken."""
        table = dataset.dict
        codes = {row["code"] for row in table if row.get("code")}
        made = {self._made_code(row) for row in table if not row.get("code")}
        for some in _chunks([*codes]):
            self._runners |= {r.code: r for r in Runner.objects.filter(code__in=some)}
            self._renamed |= self._pks(code__in=some)
        for some in _chunks([*made]):
            self._codes.update(
                Runner.objects.filter(code__in=some).values_list("code", flat=True)
            )
        self._codes |= codes

    # -- called for each row, in this order

    def before_import_row(self, row: Row, **kwargs: Any) -> None:
        """Check a row; raise ValidationError with the errors by column."""
        errors: dict[str, str] = {}
        for column, longest in LONGEST.items():
            text = row.get(column, "")
            if any(unicodedata.category(char) == "Cc" for char in text):
                errors[column] = "It contains characters that cannot be displayed."
            elif len(text) > longest:
                errors[column] = f"It is longer than {longest} characters."
        code = row.get("code", "")
        if code and not re.fullmatch(CODE_PATTERN, code):
            errors["code"] = "Use 1 to 40 letters, digits, hyphens and underscores."
        wave = row.get("wave", "")
        if wave and wave.lower() not in self._waves:
            errors["wave"] = (
                f"The race has no wave {wave!r}. Add it on the race's page first; "
                f"there are: {', '.join(w.name for w in self._waves.values())}."
                if self._waves
                else f"The race has no waves; add {wave!r} on the race's page first."
            )
        visibility = row.get("visibility", "")
        if visibility and visibility.lower() not in VISIBILITIES:
            errors["visibility"] = f"Use one of: {', '.join(VISIBILITIES)}."
        estimate = row.get("estimate", "")
        if estimate and estimate.lower() not in ESTIMATES:
            errors["estimate"] = "Use yes or no."
        if "mail" not in errors and (mail := row.get("mail")):
            try:
                validate_email(mail)
            except ValidationError:
                errors["mail"] = "This is no mail address."
        self._check_identity(row, errors)
        if errors:
            raise ValidationError(dict(errors))

    def _check_identity(self, row: Row, errors: dict[str, str]) -> None:
        bib, code = row["bib"], row.get("code", "")
        if not bib:
            errors["bib"] = "The bib is missing."
        elif first := self._rows_of_bib.get(bib):
            errors["bib"] = f"Row {first} has the same bib {bib}."
        self._rows_of_bib.setdefault(bib, row[NUMBER])
        if code and (first := self._rows_of_code.get(code)):
            errors["code"] = f"Row {first} has the same code {code}."
        self._rows_of_code.setdefault(code, row[NUMBER])
        entry, holder = self._known(row), self._by_bib.get(bib)
        if holder is not None and holder is not entry:
            errors.setdefault(
                "bib",
                f"The bib {bib} belongs to {holder.runner.name}, whose code is "
                f"{holder.runner.code}. Give one of them a different bib.",
            )
        if not row["name"] and entry is None and code not in self._runners:
            errors["name"] = "The name is missing."

    def _known(self, row: Row) -> Entry | None:
        """Return the entry of a row, or None."""
        if code := row.get("code"):
            runner = self._runners.get(code)
            return self._by_runner.get(runner.pk) if runner else None
        return self._by_bib.get(row["bib"])

    def get_instance(self, instance_loader: Any, row: Row) -> Entry | None:
        return self._known(row)

    def init_instance(self, row: Row | None = None) -> Entry:
        """Return a new entry for an existing or new runner."""
        assert row is not None
        runner = self._runners.get(row.get("code", ""))
        if runner is None:
            code = row.get("code") or self._free_code(row)
            runner = Runner(
                code=code,
                colour=palette_colour(code),
                visibility=Runner.Visibility.RACE,
            )
        return Entry(
            race_id=self._race.pk,
            runner=runner,
            wave=None,
            accepted=runner.account_id is None,
        )

    def import_instance(self, instance: Entry, row: Row, **kwargs: Any) -> None:
        runner = instance.runner
        instance.bib = row["bib"]
        for column in ("category", "club"):
            if column in row:
                setattr(instance, column, row[column])
        if "wave" in row:
            instance.wave = self._waves.get(row["wave"].lower())
        if row.get("estimate"):
            instance.shows_estimate = ESTIMATES[row["estimate"].lower()]
        if (mail := row.get("mail")) and mail != instance.mail:
            instance.mail, instance.setup_sent_at = mail, None
            self._readdressed.add(instance.pk)
        if runner._state.adding or runner.pk in self._renamed:
            runner.name = row["name"] or runner.name
            if row.get("visibility"):
                runner.visibility = VISIBILITIES[row["visibility"].lower()]

    # -- writing

    def bulk_create(
        self,
        using_transactions: bool,
        dry_run: bool,
        raise_errors: bool,
        batch_size: int | None = None,
        result: Result | None = None,
    ) -> None:
        """Store the new runners and entries."""
        entries, self.create_instances = self.create_instances, []
        if dry_run:
            return
        Runner.objects.bulk_create(
            entry.runner for entry in entries if entry.runner._state.adding
        )
        for entry in entries:
            entry.runner = entry.runner  # Sets the primary key.
        Entry.objects.bulk_create(entries)
        News.objects.tell_of_changes(entries)
        # Only the name or visibility of existing runners can have changed.
        for entry in entries:
            if entry.runner.code in self._runners and entry.runner.account_id is None:
                entry.runner.save(update_fields=["name", "visibility", "changed_at"])

    def bulk_update(
        self,
        using_transactions: bool,
        dry_run: bool,
        raise_errors: bool,
        batch_size: int | None = None,
        result: Result | None = None,
    ) -> None:
        """Store the changes; each write records the rights that it may end."""
        entries, self.update_instances = self.update_instances, []
        if dry_run:
            return
        for entry in entries:
            entry.runner.save(update_fields=["name", "visibility", "changed_at"])
            fields = ["bib", "category", "club", "wave", "shows_estimate", "changed_at"]
            if entry.pk not in self._readdressed:
                entry.save(update_fields=fields)
                continue
            # Only here, so that a link that was sent meanwhile stays marked as sent.
            entry.save(update_fields=[*fields, "mail", "setup_sent_at"])
            Entry.objects.filter(pk=entry.pk).end_setup_links()
        News.objects.tell_of_changes(entries)

    # -- codes

    def _made_code(self, row: Mapping[str, Any]) -> str:
        """Return the code of a new runner without one: bib and name."""
        name = slugify(row["name"])[:25].strip("-")
        bib = re.sub(r"[^A-Za-z0-9_-]", "", row["bib"])
        return "-".join(filter(None, (bib, name))) or "runner"

    def _free_code(self, row: Row) -> str:
        made = self._made_code(row)
        code, number = made, 1
        while code in self._codes or (
            number > 1 and Runner.objects.filter(code=code).exists()
        ):
            number += 1
            code = f"{made[:35]}-{number}"
        self._codes.add(code)
        return code


def _chunks(values: list[str]) -> list[list[str]]:
    """Split a list for `IN (…)`, whose length databases limit."""
    return [values[at : at + 500] for at in range(0, len(values), 500)]
