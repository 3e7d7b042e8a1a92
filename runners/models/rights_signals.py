"""Records a `RightsChange` when a row that rights depend on is saved or deleted.

With signals, so that the admin, pages, cascades and a shell behave alike.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete

from runners.models.entry import Entry
from runners.models.follow import Follow
from runners.models.position import LatestPosition
from runners.models.race import Checkpoint, Race, Wave
from runners.models.rights import RightsChange
from runners.models.runner import Runner, RunnerToken
from runners.models.share import Pause, ShareLink, Zone

# Fields that are written often and do not change rights.
WITHOUT_RIGHTS = {"last_used_at", "views", "last_viewed_at", "last_login"}


def _record_change(instance: Any) -> None:
    RightsChange.objects.note(
        instance.rights_kind, [getattr(instance, instance.rights_key)]
    )


def _saved(
    instance: Any,
    created: bool,
    update_fields: frozenset[str] | None,
    **kwargs: Any,
) -> None:
    # A new row ends no right, except a zone, a pause or a block. A new entry is
    # recorded for the processes that track its runner.
    is_block = isinstance(instance, Follow) and instance.status == Follow.Status.BLOCKED
    if created and not (is_block or isinstance(instance, Zone | Pause | Entry)):
        return
    if update_fields is None or not WITHOUT_RIGHTS.issuperset(update_fields):
        _record_change(instance)


def _deleted(instance: Any, **kwargs: Any) -> None:
    _record_change(instance)


def _runner_goes(instance: Runner, using: str, **kwargs: Any) -> None:
    # Positions that arrive meanwhile wait for the deletion and are refused then.
    # Otherwise PostgreSQL would refuse the deletion because of them. Locks are taken in
    # the order of the recorder: entries, then positions. Otherwise the two could
    # deadlock.
    entries = Entry.objects.using(using)
    entries.lock(entries.filter(runner=instance).values_list("pk", flat=True))
    for model in (LatestPosition, Runner):
        list(model.objects.using(using).select_for_update().filter(pk=instance.pk))


def _course_changed(instance: Checkpoint | Wave, **kwargs: Any) -> None:
    # Changes of a wave or a checkpoint change the race.
    Race.objects.filter(pk=instance.race_id).update()


def _user_saved(
    instance: Model,
    created: bool,
    update_fields: frozenset[str] | None,
    **kwargs: Any,
) -> None:
    if not created and not WITHOUT_RIGHTS.issuperset(update_fields or {"password"}):
        RightsChange.objects.note(RightsChange.Kind.USER, [instance.pk])


def _user_ended(instance: Model, **kwargs: Any) -> None:
    RightsChange.objects.note(RightsChange.Kind.USER, [instance.pk])


def _session_ended(instance: Session, **kwargs: Any) -> None:
    # `user_logged_out` is not used, because it is sent before the session is deleted.
    user = instance.get_decoded().get(SESSION_KEY)
    RightsChange.objects.note(RightsChange.Kind.USER, [int(user)] if user else [])


def _link_runners_changed(instance: Any, action: str, **kwargs: Any) -> None:
    if isinstance(instance, ShareLink) and action in ("post_remove", "post_clear"):
        _record_change(instance)


def connect() -> None:
    """Connect the signals. Called once, when the app is ready."""
    for model in (Runner, RunnerToken, Follow, Entry, Race, ShareLink, Zone, Pause):
        post_save.connect(_saved, sender=model)
        post_delete.connect(_deleted, sender=model)
    pre_delete.connect(_runner_goes, sender=Runner)
    for part in (Checkpoint, Wave):
        post_save.connect(_course_changed, sender=part)
        post_delete.connect(_course_changed, sender=part)
    post_save.connect(_user_saved, sender=settings.AUTH_USER_MODEL)
    post_delete.connect(_user_ended, sender=settings.AUTH_USER_MODEL)
    post_delete.connect(_session_ended, sender=Session)
    m2m_changed.connect(_link_runners_changed, sender=ShareLink.runners.through)
