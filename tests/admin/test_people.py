"""The people of a race: an owner adds, invites, changes and removes them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from runners.models import Invitation, Race, RaceRole
from runners.models.race_role import InvitationQuerySet, Role
from runners.notifying.inviting import invitation_accept, invitations_of
from runners.notifying.suppression import address_suppress
from runners.units.errors import CodedError
from tests.factories.people import make_user, signed_in
from tests.races.field import make_race

pytestmark = pytest.mark.django_db
ADDRESS = "new@club.example"


@pytest.fixture
def owner() -> User:
    return make_user("owner")


@pytest.fixture
def race(owner: User) -> Race:
    return make_race(owner=owner)


@pytest.fixture
def page(race: Race) -> str:
    return f"/admin/runners/race/{race.pk}/people/"


@pytest.fixture
def office(owner: User, race: Race) -> Client:
    return signed_in(User.objects.get(pk=owner.pk))


def post(office: Client, page: str, **fields: Any) -> str:
    return office.post(page, fields, follow=True).text


def invite(office: Client, page: str, person: str = ADDRESS, **more: str) -> str:
    fields = {"person": person, "role": "timing", "language": "en"}
    return post(office, page, **fields | more)


def link_in_mail() -> str:
    found = re.search(r"/invitations/\S+/", str(mail.outbox[-1].body))
    assert found
    return found[0]


def answer(account: User, chosen: str) -> Client:
    """Answer the invitation of an account on its own page."""
    client = signed_in(account)
    link = re.search(r"/me/invitations/\d+/", client.get("/me/", follow=True).text)
    assert link
    answered = client.post(link[0], {"answer": chosen})
    assert ("/desk/" in answered["Location"]) is (chosen == "accept")
    return client


def accept(account: User) -> Client:
    return answer(account, "accept")


def roles() -> dict[str, str]:
    return dict(RaceRole.objects.values_list("user__username", "role"))


def test_an_owner_invites_changes_and_removes_an_account(
    office: Client, page: str, race: Race, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    anna = make_user("anna")
    assert "No invitation is open." in office.get(page).text
    assert "Invited anna as Medic." in invite(office, page, "anna", role="medic")
    assert roles() == {"owner": "owner"}
    guest = accept(anna)
    assert roles() == {"owner": "owner", "anna": "medic"}
    assert not Invitation.objects.exists()
    assert guest.get(f"/admin/runners/race/{race.pk}/desk/").status_code == 200
    assert guest.get(page).status_code == 403
    refused = "127.0.0.1 was refused admin:runners_race_people as account"
    assert f"{refused} {anna.pk}" in caplog.text and "Traceback" not in caplog.text
    assert "has a role already" in invite(office, page, "anna")
    held = anna.race_roles.get().pk
    assert "Changed anna to Aid station." in post(office, page, held=held, role="aid")
    assert "There is no role" in post(office, page, held=held, role="king")
    assert "Removed anna." in post(office, page, held=held, role="remove")
    assert roles() == {"owner": "owner"}
    assert guest.get(f"/admin/runners/race/{race.pk}/desk/").status_code == 403
    changes = f"127.0.0.1 changed the people of race {race.pk} as account"
    assert caplog.text.count(changes) == 3


def test_the_last_owner_stays(office: Client, page: str, owner: User) -> None:
    held = owner.race_roles.get().pk
    for role in ("remove", "read"):
        text = post(office, page, held=held, role=role)
        assert "A race needs an owner." in text
    assert roles() == {"owner": "owner"}
    anna = make_user("anna")
    invite(office, page, "anna", role="owner")
    accept(anna)
    # The page is closed to them now.
    assert "Removed owner." in post(office, page, held=held, role="remove")
    assert office.get(page).status_code == 403
    assert roles() == {anna.username: "owner"}


def test_people_of_a_different_race_cannot_be_changed(
    office: Client, page: str
) -> None:
    other = make_race(slug="night", owner=make_user("other"))
    for fields in (
        {"held": other.roles.get().pk, "role": "remove"},
        {"held": "x", "role": "remove"},
        {"invited": "9"},
    ):
        assert office.post(page, fields).status_code == 404
    assert roles()["other"] == "owner"


def test_an_invitation_is_accepted_once_with_a_new_account(
    office: Client, page: str, race: Race
) -> None:
    assert f"Invited {ADDRESS} as Timing." in invite(office, page)
    (message,) = mail.outbox
    assert (message.to, message.subject) == (
        [ADDRESS],
        "An invitation to a race office",
    )
    assert "List-Unsubscribe" in message.extra_headers
    link = link_in_mail()
    # The secret is not stored, and not shown in the office.
    assert link.split("/")[2] not in office.get(page).text
    assert ADDRESS in office.get(page).text

    guest = Client()
    text = guest.get(link).text
    assert "Your role: Timing." in text
    assert f"/sign-up/?next={link.replace('/', '%2F')}" in text
    # A post without an account only shows the page.
    assert guest.post(link).status_code == 200
    assert roles() == {"owner": "owner"}
    guest.force_login(make_user("tim"))
    accepted = guest.post(link)
    assert accepted["Location"] == f"/admin/runners/race/{race.pk}/desk/"
    assert guest.get(accepted["Location"]).status_code == 200
    assert roles()["tim"] == "timing"
    assert not Invitation.objects.exists()

    second = signed_in(make_user("eve"))
    for response in (second.get(link), second.post(link)):
        assert response.status_code == 404
        assert "This invitation does not work" in response.text
    assert "eve" not in roles()


def test_an_ended_withdrawn_or_replaced_invitation_gives_nothing(
    office: Client, page: str
) -> None:
    guest = signed_in(make_user("tim"))
    invite(office, page)
    first = link_in_mail()
    invite(office, page, role="medic")
    second = link_in_mail()
    assert guest.post(first).status_code == 404
    assert "Your role: Medic." in guest.get(second).text

    later = timezone.now() - timedelta(seconds=1)
    kept = Invitation.objects.get().expires_at
    Invitation.objects.update(expires_at=later)
    assert guest.post(second).status_code == 404
    assert "ended: invite again" in office.get(page).text
    Invitation.objects.update(expires_at=kept)
    invited = Invitation.objects.get().pk
    text = post(office, page, invited=invited)
    assert f"Withdrew the invitation of {ADDRESS}." in text
    assert guest.post(second).status_code == 404
    assert roles() == {"owner": "owner"}


def test_the_office_does_not_learn_whether_a_username_has_an_account(
    office: Client, page: str
) -> None:
    guests = {name: make_user(name) for name in ("real", "shy")}
    User.objects.create_user("gone", is_active=False)
    with_forms = ("csrfmiddlewaretoken", 'name="invited"')
    seen, later = set(), set()

    def without_forms(text: str) -> str:
        lines = [x for x in text.splitlines() if not any(y in x for y in with_forms)]
        return "\n".join(lines).replace(name, "NAME")

    for name in ("real", "gone", "none", "shy"):
        seen.add(without_forms(invite(office, page, name)))
        if name == "shy":
            answer(guests[name], "decline")
            assert "Invitations" not in signed_in(guests[name]).get("/me/new/").text
        later.add(without_forms(office.get(page).text))
        post(office, page, invited=Invitation.objects.get().pk)
    assert len(seen) == len(later) == 1
    assert "Invited NAME as Timing." in seen.pop()


def test_a_username_that_is_taken_after_the_invitation_gives_nothing(
    office: Client, page: str
) -> None:
    invite(office, page, "anna")
    guest = signed_in(make_user("anna"))
    assert "Invitations" not in guest.get("/me/new/").text
    answer = f"/me/invitations/{Invitation.objects.get().pk}/"
    assert guest.post(answer, {"answer": "accept"}).status_code == 404
    assert roles() == {"owner": "owner"}
    assert Client().post(answer)["Location"].startswith("/sign-in/")


def test_an_invitation_by_username_is_refused_or_ends_with_the_inviter(
    office: Client, page: str, owner: User
) -> None:
    guest = signed_in(make_user("anna"))
    invite(office, page, "anna")
    answer = f"/me/invitations/{Invitation.objects.get().pk}/"
    assert "Your role: Timing." in guest.get("/me/new/").text
    assert guest.post(answer, {"answer": "perhaps"}).status_code == 404
    guest.post(answer, {"answer": "decline"})
    assert guest.post(answer, {"answer": "accept"}).status_code == 404

    invite(office, page, "anna")
    owner.race_roles.update(role="office")
    assert "Your role" not in guest.get("/me/new/").text
    assert roles() == {"owner": "office"}


def test_usernames_are_compared_without_case(
    office: Client, page: str, race: Race
) -> None:
    anna = make_user("anna")
    User.objects.create_user("ANNA", is_active=False)
    invite(office, page, "anna", role="read")
    # Both at once: the second one does not find the first one until it is stored.
    found = [Invitation.DoesNotExist, Invitation.objects.get()]
    with patch.object(InvitationQuerySet, "get", side_effect=found):
        assert "Invited Anna" in invite(office, page, "Anna", role="medic")
    assert Invitation.objects.get().username == "Anna"
    accept(anna)
    assert roles() == {"owner": "owner", "anna": "medic"}
    assert "has a role already" in invite(office, page, "aNNa")


@pytest.mark.parametrize("has_account", [True, False])
def test_invitations_by_username_are_limited_as_mails(
    office: Client, page: str, has_account: bool
) -> None:
    too_many = "Too many invitations today."
    if has_account:
        anna = make_user("anna")
    for _ in range(2):
        assert "Invited anna" in invite(office, page, "anna")
        if has_account:
            answer(anna, "decline")
    assert too_many in invite(office, page, "Anna")
    # A refused attempt does not count for the account, and mails do.
    for person in ("b", "c", ADDRESS):
        assert f"Invited {person}" in invite(office, page, person)
    assert too_many in invite(office, page, "d")
    assert Invitation.objects.count() == 4


def test_many_invitations_of_an_inviter_cost_no_more_queries(
    owner: User, race: Race, django_assert_num_queries: Any
) -> None:
    anna = make_user("anna")
    other = make_race(slug="other", owner=make_user("other"))
    for each in (race, make_race(slug="night", owner=owner), other):
        Invitation.objects.issue(
            race=each, username="anna", role=Role.READ, invited_by=owner
        )
        with django_assert_num_queries(5):
            found = invitations_of(anna)
    assert [each.race.slug for each in found] == ["ten", "night"]


def test_an_address_is_invited_even_if_it_is_a_username(
    office: Client, page: str
) -> None:
    """Strangers could sign up with the address of somebody who is to get a role."""
    make_user(ADDRESS)
    assert f"Invited {ADDRESS} as Timing." in invite(office, page)
    assert roles() == {"owner": "owner"}
    assert mail.outbox[0].to == [ADDRESS]


def test_an_invitation_by_a_former_owner_gives_nothing(
    office: Client, page: str, race: Race, owner: User
) -> None:
    invite(office, page)
    anna = make_user("anna")
    invite(office, page, "anna", role="owner")
    accept(anna)
    post(office, page, held=owner.race_roles.get().pk, role="office")
    guest = signed_in(make_user("tim"))
    link = link_in_mail()
    assert guest.get(link).status_code == guest.post(link).status_code == 404
    with pytest.raises(CodedError):
        invitation_accept(
            invitation=Invitation.objects.get(), user=User.objects.get(username="tim")
        )
    assert roles() == {"owner": "office", "anna": "owner"}


def test_an_owner_who_opens_an_invitation_stays_one(office: Client, page: str) -> None:
    invite(office, page, role="read")
    assert "has a role in the race already" in office.post(link_in_mail()).text
    assert roles() == {"owner": "owner"}
    assert Invitation.objects.exists()


def test_refused_invitations_say_why(
    office: Client,
    page: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "Enter a valid email address" in invite(office, page, "a@b")
    address_suppress(address=ADDRESS, reason="unsubscribed")
    assert "does not want emails" in invite(office, page)
    for number in range(5):
        invite(office, page, f"{number}@club.example")
    assert "Too many emails today" in invite(office, page, "6@club.example")
    assert Invitation.objects.count() == len(mail.outbox) == 5
    address_suppress(address="0@club.example", reason="unsubscribed")
    assert Invitation.objects.count() == 4
    settings.DEBUG = False
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    text = invite(office, page, "7@club.example")
    assert "This server does not send emails." in text
    assert "This server sends no mail" in text


def test_a_mail_that_is_not_sent_leaves_no_invitation(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = list(connection.savepoint_ids)

    def refuse(message: Any, fail_silently: bool = False) -> int:
        # A transaction would keep other writers out until the server responds.
        assert connection.savepoint_ids == outside
        raise ConnectionRefusedError

    monkeypatch.setattr(mail.EmailMessage, "send", refuse)
    assert "The mail server does not respond." in invite(office, page)
    assert not Invitation.objects.exists()


def test_the_mail_is_in_the_language_that_the_owner_chose(
    office: Client, page: str
) -> None:
    invite(office, page, language="de")
    assert mail.outbox[0].subject == "Eine Einladung in ein Rennbüro"
    assert "als: Zeitnahme." in str(mail.outbox[0].body)
    guest = Client(headers={"accept-language": "de"})
    assert "Deine Rolle: Zeitnahme." in guest.get(link_in_mail()).text


def test_only_roles_that_are_offered_are_given(office: Client, page: str) -> None:
    text = invite(office, page, role="king")
    assert "Select a valid choice" in text
    assert set(Role.values) == {"owner", "office", "timing", "aid", "medic", "read"}
    assert not mail.outbox
