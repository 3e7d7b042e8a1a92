from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import InlineModelAdmin
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runners.admin.activity_file import entry_file
from runners.admin.by_role import ByRole, InlineByRole, changes
from runners.admin.columns import RaceDayMedia
from runners.admin.desk.accounted import accounted, accounted_csv
from runners.admin.desk.pages import desk, desk_json, mark, sos, swap
from runners.admin.entry import EntriesOfRace
from runners.admin.people import people
from runners.admin.race_form import GpxField, RaceForm, WaveForm, WaveFormSet
from runners.admin.race_pages import permitted_race, race_page
from runners.admin.startlist.pages import export, start_list
from runners.admin.startlist.qr_sheet import phone_sheet
from runners.admin.startlist.setup_links import setup_links, setup_links_csv
from runners.admin.timing_import import timing_import
from runners.maps.cutting import start_cutting
from runners.models import Checkpoint, Entry, Race, Wave
from runners.models.race_role import Role
from runners.races.arrival.pacing import shipped
from runners.races.course import Waypoint, waypoints_of_gpx
from runners.races.course_check import REPAIRS, course_problems
from runners.races.gpx_import import CourseError
from runners.races.race_data import prior_of
from runners.races.setup import (
    race_add_checkpoints,
    race_scale_checkpoints,
    race_set_course,
)
from runners.rights.roles import Action, actions_of, may, races_of, role_set
from runners.snapshots.items import race_item
from runners.timing.storage import passings_recompute
from runners.views.assets import map_assets
from runners.views.numbers import whole_number

# Longer start lists have a page of their own: a form with thousands of rows is slow,
# and Django refuses its size.
INLINE_ENTRIES = 100


class CheckpointInline(InlineByRole):
    needs = changes(Action.VIEW, Action.EDIT)
    model = Checkpoint
    fields = ("name", "distance", "kind")
    ordering = ("distance",)
    extra = 0


class WaveInline(InlineByRole):
    needs = changes(Action.VIEW, Action.EDIT)
    model = Wave
    form = WaveForm
    formset = WaveFormSet
    fields = ("name", "start")
    ordering = ("start",)
    extra = 0


class WaypointsForm(forms.Form):
    """The form that proposes checkpoints, with an optional file of waypoints."""

    gpx = GpxField(
        label="Waypoints (GPX)",
        help_text="Named waypoints within 30 m of the course become checkpoints, one "
        "per time that the course passes. Without a file: start, every 5 km "
        "(every 1 km under 10 km) and finish.",
    )

    def clean_gpx(self) -> list[Waypoint]:
        content = self.cleaned_data["gpx"]
        try:
            return waypoints_of_gpx(content) if content else []
        except CourseError as error:
            raise forms.ValidationError(str(error)) from error


@admin.register(Race)
class RaceAdmin(ByRole):
    needs: ClassVar = {
        "view": Action.VIEW,
        "change": Action.EDIT,
        "delete": Action.DELETE,
    }
    race_path = "pk"
    form = RaceForm
    list_display = (
        *("name", "starts", "course_length", "checkpoint_count"),
        *("start_list", "race_day", "live_page"),
    )
    list_filter = (("start", admin.DateFieldListFilter),)
    search_fields = ("name", "slug")
    ordering = ("-start",)
    fields = (
        *("name", "slug", "visibility", "timezone", "start", "ends", "start_list"),
        *("gpx", "mend", "length", "top_speed", "results", "learned", "streets"),
        "preview",
    )
    prepopulated_fields: ClassVar = {"slug": ("name",)}
    Media = RaceDayMedia

    def get_queryset(self, request: HttpRequest) -> QuerySet[Race]:
        # Neither page needs the line, which has thousands of points per race.
        races: QuerySet[Race] = super().get_queryset(request)
        return races.defer("line").annotate(
            checkpoints_in_all=_count_of(Checkpoint),
            entries_in_all=_count_of(Entry),
            may_enter=Q(pk__in=races_of(request.user, Action.ENTER).values("pk")),
        )

    def get_readonly_fields(
        self, request: HttpRequest, obj: Race | None = None
    ) -> tuple[str, ...]:
        return ("learned", "streets", "preview", "start_list")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether Django's permission allows it; there is no role yet."""
        return admin.ModelAdmin.has_add_permission(self, request)

    def save_model(
        self, request: HttpRequest, obj: Race, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            role_set(race=obj, user=cast(User, request.user), role=Role.OWNER)

    def get_deleted_objects(
        self, objs: QuerySet[Race] | Sequence[Race], request: HttpRequest
    ) -> tuple[Any, ...]:
        """Delete what belongs to a race with it, also rows of other people's."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        if all(may(request.user, race, Action.DELETE) for race in objs):
            needed = set()
        return deleted, counts, needed, protected

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        shown = races_of(request.user).only("pk")
        race = shown.filter(pk=whole_number(object_id) or 0).first()
        actions = actions_of(request.user, race) if race else frozenset()
        context = (extra_context or {}) | {"may": actions}
        return super().change_view(request, object_id, form_url, context)

    def get_inlines(
        self, request: HttpRequest, obj: Race | None
    ) -> list[type[InlineModelAdmin[Any, Any]]]:
        inlines: list[type[InlineModelAdmin[Any, Any]]] = [CheckpointInline, WaveInline]
        if obj is None or obj.entries.count() <= INLINE_ENTRIES:
            inlines.append(EntriesOfRace)
        return inlines

    def save_related(
        self,
        request: HttpRequest,
        form: Any,
        formsets: list[BaseInlineFormSet[Any, Any, Any]],
        change: bool,
    ) -> None:
        super().save_related(request, form, formsets, change)
        race: Race = form.instance
        if _is_start_moved(form, formsets):
            # A field takes long, and other writers must not wait for all of it.
            transaction.on_commit(partial(passings_recompute, race=race))
        if form.course is not None:
            checkpoints = race_set_course(
                race=race,
                course=form.course,
                waypoints=form.waypoints,
                length=race.length,
            )
            start_cutting(race)
            measured = form.course.length
            certified = (
                ""
                if abs(measured - race.length) < 0.01
                else f", as measured {_kilometres(measured)},"
            )
            self.message_user(
                request,
                f"The course is {_kilometres(race.length)} long{certified} and has "
                f"{len(checkpoints)} checkpoints.",
                messages.SUCCESS,
            )
            mended = form.cleaned_data["mend"]
            for problem in course_problems(form.course):
                hint = (
                    " Upload the file again and tick "
                    f'"{REPAIRS[problem.repair].label}".'
                    if problem.repair and problem.repair not in mended
                    else ""
                )
                self.message_user(request, problem.text + hint, messages.WARNING)
        elif change and "length" in form.changed_data:
            race_scale_checkpoints(race=race, before=form.initial["length"])

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "<int:pk>/course.json",
                view(self.course_json),
                name="runners_race_course",
            ),
            path(
                "<int:pk>/checkpoints/",
                view(self.propose_checkpoints),
                name="runners_race_checkpoints",
            ),
            *(
                path(
                    f"<int:pk>/{address}",
                    view(partial(page, self)),
                    name=f"runners_race_{name}",
                )
                for address, page, name in (
                    ("start-list/", start_list, "start_list"),
                    ("start-list.<str:kind>", export, "export"),
                    ("timing/", timing_import, "timing"),
                    ("people/", people, "people"),
                    ("phones/", phone_sheet, "phones"),
                    ("setup-links/", setup_links, "setup_links"),
                    ("setup-links.csv", setup_links_csv, "setup_links_csv"),
                    ("desk/", desk, "desk"),
                    ("desk.json", desk_json, "desk_json"),
                    ("accounted/", accounted, "accounted"),
                    ("accounted.csv", accounted_csv, "accounted_csv"),
                    ("entries/<int:entry>/file/", entry_file, "entry_file"),
                    ("desk/mark/", mark, "mark"),
                    ("desk/swap/", swap, "swap"),
                    ("desk/sos/", sos, "sos"),
                )
            ),
            *super().get_urls(),
        ]

    def course_json(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the course and its checkpoints as JSON, for the preview."""
        race = permitted_race(request, pk, Action.VIEW)
        return JsonResponse(race_item(race.pk))

    def propose_checkpoints(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Add the usual checkpoints that are missing."""
        race = permitted_race(request, pk, Action.EDIT)
        posted = (request.POST, request.FILES) if request.method == "POST" else ()
        form = WaypointsForm(*posted)
        if not race.length:
            self.message_user(
                request,
                "Upload the course first; this creates its checkpoints.",
                messages.WARNING,
            )
        elif form.is_valid():
            added = race_add_checkpoints(race=race, waypoints=form.cleaned_data["gpx"])
            names = ", ".join(checkpoint.name for checkpoint in added)
            self.log_change(request, race, f"Added checkpoints: {names or 'none'}.")
            self.message_user(
                request,
                f"Added: {names}. You can change them below."
                if added
                else "The race has all usual checkpoints already.",
                messages.SUCCESS,
            )
        else:
            return race_page(
                self, request, race, "checkpoints", "Propose checkpoints", form=form
            )
        return HttpResponseRedirect(reverse("admin:runners_race_change", args=[pk]))

    def view_on_site(self, obj: Race) -> str:
        return reverse("race", args=[obj.slug])

    @admin.display(description="Start", ordering="start")
    def starts(self, race: Race) -> str:
        zone = zoneinfo.ZoneInfo(race.timezone)
        return race.start.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")

    @admin.display(description="Course and checkpoints")
    def preview(self, race: Race) -> SafeString | str:
        if not race.length:
            return "Upload a course and save to see it here."
        assets = map_assets()
        if assets is None:
            return "The map library is not installed: run make setup."
        config = {
            **assets,
            "data": reverse("admin:runners_race_course", args=[race.pk]),
        }
        return render_to_string("admin/runners/race/_preview.html", {"map": config})

    @admin.display(description="Arrival times are based on")
    def learned(self, race: Race) -> str:
        prior = prior_of(race)
        found = f"{prior.source}: {prior.runners:,} runners, read {prior.learned}"
        if race.pacing and prior is shipped():
            found += (
                ". The past results of this race were read by a different version: "
                "upload them again."
            )
        return found

    @admin.display(description="Streets on the map")
    def streets(self, race: Race) -> str:
        found = race.maps.order_by("-pk").first()
        if found is None:
            if settings.SPECTATE_MAP_SOURCE:
                return "None yet: they come with the course."
            return "None: this server has no SPECTATE_MAP_SOURCE."
        if found.problem:
            return f"No new ones: {found.problem} Upload the course again to try again."
        done = f"{found.tiles_read} of {found.tiles_wanted} tiles"
        if found.has_stopped:
            return f"Stopped at {done}. Upload the course again to try again."
        if found.completed_at is None:
            return f"Being cut out, {done}. Reload this page to see how far it is."
        return f"Cut out on {found.completed_at:%Y-%m-%d}, {found.tiles_wanted} tiles."

    @admin.display(description="Length", ordering="length")
    def course_length(self, race: Race) -> str:
        return _kilometres(race.length) if race.length else "no course yet"

    @admin.display(description="Checkpoints", ordering="checkpoints_in_all")
    def checkpoint_count(self, race: Any) -> int:
        count: int = race.checkpoints_in_all
        return count

    @admin.display(description="Start list", ordering="entries_in_all")
    def start_list(self, race: Any) -> SafeString | str:
        if race.pk is None:
            return "–"
        entered = format_html(
            '<a href="{}?{}">{} entered</a>',
            reverse("admin:runners_entry_changelist"),
            urlencode({"race": race.slug}),
            race.entries_in_all,
        )
        if not race.may_enter:
            return entered
        page = reverse("admin:runners_race_start_list", args=[race.pk])
        return format_html('{} · <a href="{}">import</a>', entered, page)

    @admin.display(description="Race day")
    def race_day(self, race: Race) -> SafeString:
        return format_html(
            '<a href="{}">Desk</a>', reverse("admin:runners_race_desk", args=[race.pk])
        )

    @admin.display(description="Live page")
    def live_page(self, race: Race) -> SafeString:
        url = self.view_on_site(race)
        return format_html('<a href="{}">{}</a>', url, url)


def _is_start_moved(
    form: Any, formsets: Sequence[BaseInlineFormSet[Any, Any, Any]]
) -> bool:
    """Return whether saved forms changed when any entry of a race starts."""
    return "start" in form.changed_data or any(
        each.new_objects
        or each.deleted_objects
        or any("start" in fields for _wave, fields in each.changed_objects)
        for each in formsets
        if each.model is Wave
    )


def _count_of(model: type[Checkpoint | Entry]) -> Coalesce:
    """Count a race's rows in a subquery: two joins would multiply."""
    rows = model._default_manager.filter(race=OuterRef("pk")).order_by()
    counted = rows.values("race").annotate(in_all=Count("pk")).values("in_all")
    return Coalesce(Subquery(counted), 0)


def _kilometres(metres: float) -> str:
    return f"{metres / 1000:.2f} km"
