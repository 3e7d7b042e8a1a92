"""Who may do what for a race: each role at each door, compared with the table of roles.

Each door is tried in a transaction that is rolled back. What it needs is an `Action`;
who has it, the table in `rights/roles.py` says, and so do the documents.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import Http404, HttpResponse
from django.template.response import TemplateResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from runners.models.race_role import Role
from runners.rights.access import Viewer, followable
from runners.rights.results import shown_in_standings
from runners.rights.roles import ROLES, Action, actions_of, may
from tests.admin.role_scene import Door, Scene, make_viewer
from tests.api.organisers.system import make_key
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

# They have no role in the race: staff without any, the owner of a different race, and
# an owner who is not staff any more.
STRANGERS = ("staff", "other", "dismissed")


class Visitor:
    """An account at the doors, in the process and without drawing pages: it is fast."""

    def __init__(self, user: User) -> None:
        scope = "installation" if user.is_superuser else "organiser"
        self._user, self._key = user, make_key(user, scope=scope)[1]

    def passes(self, door: Door) -> bool:
        """Return whether a door is open; undo what the request did."""
        with transaction.atomic():
            try:
                response = self._send(door)
            except (PermissionDenied, Http404):
                return False
            stored = door.stores is None or door.stores.all().exists()
            transaction.set_rollback(True)
        if response.status_code == 302:
            # To the index, where the admin says that there is no such row; to sign in.
            to = response["Location"]
            return stored and to != "/admin/" and "login" not in to
        if response.status_code not in (200, 201, 204, 400):
            assert response.status_code in (401, 403, 404), door
            return False
        return stored and (door.shows is None or door.shows in content_of(response))

    def _send(self, door: Door) -> HttpResponse:
        factory, body = RequestFactory(), door.body
        if door.path.startswith("/api/"):
            text = "" if body is None else json.dumps(body)
            method = door.method or ("GET" if body is None else "POST")
            request = factory.generic(
                *(method, door.path, text, "application/json"),
                headers={"authorization": f"Bearer {self._key}"},
            )
        elif body is None:
            request = factory.get(door.path)
        else:
            request = factory.post(door.path, body)
        request.user, request.session = self._user, SessionStore()
        request._messages = CookieStorage(request)  # type: ignore[attr-defined]
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        view = resolve(door.path.partition("?")[0])
        return view.func(request, *view.args, **view.kwargs)  # type: ignore[no-any-return]


def content_of(response: HttpResponse) -> str:
    """Return the body, of a page of the admin its rows and missing permissions."""
    if not isinstance(response, TemplateResponse):
        return response.text
    context: dict[str, Any] = response.context_data or {}
    rows = getattr(context.get("cl"), "result_list", ())
    lacking = f"perms_lacking={[*context.get('perms_lacking', ())]}"
    return " ".join([*(f"[{row._meta.model_name} {row.pk}]" for row in rows), lacking])


@pytest.mark.parametrize("name", [*Role.values, *STRANGERS, "super"])
def test_each_door_is_open_to_the_roles_of_its_action(name: str, scene: Scene) -> None:
    user = make_viewer(name, scene.race)
    visitor = Visitor(user)
    allowed = {a for a in Action if name in ROLES[a] or name == "super"}
    assert actions_of(user, scene.race) == allowed
    assert {a for a in Action if may(user, scene.race, a)} == allowed
    wrong = [
        f"{door.name} ({'open' if is_open else 'closed'})"
        for door in scene.doors()
        if (is_open := visitor.passes(door)) != (door.needs in allowed)
    ]
    assert wrong == []
    # On a websocket everybody is a spectator.
    viewer = Viewer(user=user.pk)
    assert followable(viewer, ["bob"], create=False)[1] == {"bob": "runner.unknown"}
    official = scene.rows["runner"] in shown_in_standings(scene.race, user.pk)
    assert official == (Action.VIEW in allowed)


def test_the_documents_have_the_table_of_roles() -> None:
    text = (ROOT / "docs/organising.md").read_text()
    heading = "| | " + " | ".join(role.label.lower() for role in Role) + " |"
    rows = text.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    assert rows == [
        f"| {action.label} | "
        + " | ".join("yes" if role in roles else "" for role in Role)
        + " |"
        for action, roles in ROLES.items()
    ]


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("staff", set()),
        ("read", {"Race", "Entry"}),
        ("medic", {"Race", "Entry", "Position", "LatestPosition"}),
    ],
)
def test_the_index_lists_what_a_role_opens(
    name: str, listed: set[str], scene: Scene
) -> None:
    request = RequestFactory().get("/admin/")
    request.user = make_viewer(name, scene.race)
    with CaptureQueriesContext(connection) as captured:
        apps = site.get_app_list(request)
    # Each table asks for several actions.
    assert sum('FROM "runners_racerole"' in q["sql"] for q in captured) <= 1
    assert {each["object_name"] for app in apps for each in app["models"]} == listed
