"""Admins of rows that belong to races: `rights/roles.py` decides who sees which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from runners.models import Checkpoint, Entry, Race, Runner, Wave
from runners.rights.roles import (
    Action,
    AnyUser,
    may,
    may_somewhere,
    organises_all,
    races_of,
    runners_of,
)


class _ByAction:
    """Asks Django for permissions of organisers of all races, and `allows` for others'.

    Forms offer only races in which the user may add a row, and what is in them. Other
    rows of the application are offered to organisers of all races only.
    """

    needs: ClassVar[Mapping[str, Action]] = {}

    def allows(self, user: AnyUser, verb: str, obj: Any) -> bool:
        """Return whether a user who does not organise all races may do something."""
        return False

    def _may(
        self, request: HttpRequest, verb: str, obj: Any, is_permitted: bool
    ) -> bool:
        if organises_all(request.user):
            return is_permitted
        return self.allows(request.user, verb, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_permitted = super().has_view_permission(request, obj)  # type: ignore[misc]
        return self._may(request, "view", obj, is_permitted)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_permitted = super().has_change_permission(request, obj)  # type: ignore[misc]
        return self._may(request, "change", obj, is_permitted)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_permitted = super().has_delete_permission(request, obj)  # type: ignore[misc]
        return self._may(request, "delete", obj, is_permitted)

    def get_field_queryset(
        self, db: str | None, db_field: Any, request: HttpRequest
    ) -> QuerySet[Any] | None:
        offered: QuerySet[Any] | None = super().get_field_queryset(  # type: ignore[misc]
            db, db_field, request
        )
        if organises_all(request.user):
            return offered
        model, races = db_field.related_model, races_of(request.user, self.needs["add"])
        if model is Race:
            return races
        if model is Runner:
            return runners_of(request.user, self.needs["add"])
        rows: QuerySet[Any] = model._default_manager.all()
        if model in (Checkpoint, Entry, Wave):
            return rows.filter(race__in=races)
        return rows.none() if model._meta.app_label == Race._meta.app_label else offered


class ByRole(_ByAction, admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows rows of the races in which the user has a role, and checks it.

    `needs` has the action of each of "view", "add", "change" and "delete"; one that is
    missing is for organisers of all races, who need Django's permissions instead.
    """

    race_path = "race"

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        """Return the rows of the races for which a user may do something."""
        return rows.filter(**{f"{self.race_path}__in": races_of(user, action)})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if organises_all(request.user):
            return rows
        if "view" not in self.needs:
            return rows.none()
        return self.rows_of(rows, request.user, self.needs["view"])

    def has_module_permission(self, request: HttpRequest) -> bool:
        """List this in the index for whoever may see rows."""
        return super().has_module_permission(request) or (
            self.has_view_permission(request)
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add", None, super().has_add_permission(request))

    def allows(self, user: AnyUser, verb: str, obj: Any) -> bool:
        if verb not in self.needs:
            return False
        if obj is None:
            return may_somewhere(user, self.needs[verb])
        rows = self.model._default_manager.filter(pk=obj.pk)
        return self.rows_of(rows, user, self.needs[verb]).exists()


class InlineByRole(_ByAction, admin.TabularInline):  # type: ignore[type-arg]
    """Rows on the page of their race, or of an entry; `needs` as of `ByRole`."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "add", obj, super().has_add_permission(request, obj))

    def allows(self, user: AnyUser, verb: str, obj: Any) -> bool:
        if obj is None:
            # The page that creates a race: its creator becomes its owner.
            return True
        return may(user, getattr(obj, "race", obj), self.needs[verb])


class NeverEdited:
    """Rows are neither added nor changed in the office."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def changes(view: Action, change: Action) -> dict[str, Action]:
    """Return `needs` with one action for every change."""
    return {"view": view} | dict.fromkeys(("add", "change", "delete"), change)
