"""Set-up links that the race office mails to the runners of a start list."""

from __future__ import annotations

import re
from datetime import timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone

from runners.models import Entry, Phone, Race, Runner, RunnerToken
from runners.models.race_role import Role
from runners.notifying import setup_links
from runners.notifying.suppression import address_suppress
from runners.positions.retention import prune_as_set
from runners.rights.roles import role_set
from runners.rights.token_lookup import find_token
from runners.startlist.importing import start_list_import
from runners.startlist.spreadsheet import read_start_list
from tests.factories.people import make_user, signed_in
from tests.races.field import make_race

pytestmark = pytest.mark.django_db
LIST = "bib,name,mail\n1,Ann,ann@runs.example\n2,Bob,bob@runs.example\n3,Cem,\n"
ADDRESSES = {"ann@runs.example", "bob@runs.example"}


@pytest.fixture
def race() -> Race:
    race = make_race(owner=make_user("owner"), start=timezone.now())
    enter(race)
    return race


@pytest.fixture
def page(race: Race) -> str:
    return f"/admin/runners/race/{race.pk}/setup-links/"


@pytest.fixture
def office(race: Race) -> Client:
    return signed_in(race.roles.get().user)


def enter(race: Race, text: str = LIST) -> Any:
    table, _ = read_start_list(text.encode())
    return start_list_import(race=race, table=table, managed=Runner.objects.all())


def send(office: Client, page: str, language: str = "en") -> str:
    return office.post(page, {"language": language}, follow=True).text


def states(office: Client, page: str) -> dict[str, str]:
    text = office.get(f"{page[:-1]}.csv").text
    rows = [line.split(",") for line in text.splitlines()[1:]]
    return {row[1]: row[3] for row in rows}


def token_in(message: EmailMessage) -> str:
    found = re.search(r"/share/#token=(\S+)", str(message.body))
    assert found
    return found[1]


def test_each_runner_with_an_address_gets_a_link_once(
    office: Client, page: str, race: Race
) -> None:
    assert "Send the next 2 links" in office.get(page).text
    assert "Sent 2 links." in send(office, page)
    assert {message.to[0] for message in mail.outbox} == ADDRESSES
    for message in mail.outbox:
        token = find_token(token_in(message))
        assert token is not None and token.until == race.ends
        runner = Runner.objects.get(pk=token.publisher.pk)
        assert f"{runner.name.casefold()}@runs.example" == message.to[0]
    assert states(office, page) == {"Ann": "sent", "Bob": "sent", "Cem": "no mail"}
    assert "Everybody with a mail address has got their link." in office.get(page).text
    assert "Sent 0 links." in send(office, page)
    assert len(mail.outbox) == 2


@pytest.mark.parametrize(
    ("language", "subject"),
    [
        ("en", "Your link for the race"),
        ("de", "Dein Link für das Rennen"),
        ("fr", "Votre lien pour la course"),
        ("es", "Tu enlace para la carrera"),
    ],
)
def test_links_are_mailed_in_the_chosen_language(
    office: Client, page: str, language: str, subject: str
) -> None:
    send(office, page, language)
    assert mail.outbox[0].subject == subject


def test_who_has_sent_a_position_by_the_link_has_tested(
    office: Client, page: str
) -> None:
    send(office, page)
    now = timezone.now()
    for message in mail.outbox:
        token = find_token(token_in(message))
        assert token is not None
        row = RunnerToken.objects.get(pk=token.token)
        # Bob's phone has opened the page only.
        fix_at = now if row.runner.name == "Ann" else None
        Phone.objects.create(token=row, app="Browser", contact_at=now, fix_at=fix_at)
    assert states(office, page) == {"Ann": "tested", "Bob": "sent", "Cem": "no mail"}
    shown = office.get(page, {"show": "sent"}).text
    assert "bob@runs.example" in shown and "ann@runs.example" not in shown


def test_a_new_address_gets_a_new_link_and_ends_the_first(
    office: Client, page: str, race: Race
) -> None:
    send(office, page)
    (first,) = [token_in(m) for m in mail.outbox if m.to == ["ann@runs.example"]]
    assert enter(race, LIST).unchanged == 3
    enter(race, "bib,name,mail\n1,Ann,new@runs.example\n")
    assert find_token(first) is None
    assert states(office, page)["Ann"] == "waiting"
    assert "Sent 1 links." in send(office, page)
    assert mail.outbox[-1].to == ["new@runs.example"]
    assert find_token(token_in(mail.outbox[-1])) is not None


def test_faulty_addresses_are_named_by_row_and_column(race: Race) -> None:
    done = enter(race, "bib,name,mail\n8,Eve,eve\n9,Fay," + "x" * 255 + "\n")
    assert [(f.row, f.column) for f in done.faults] == [(2, "mail"), (3, "mail")]


def test_sending_is_limited(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_links, "MAX_PER_TURN", 1)
    assert "Sent 1 links." in send(office, page)
    monkeypatch.setattr(setup_links, "MAX_BY_SERVER", 1)
    assert "Sent 0 links. This server sends 1 links per hour." in send(office, page)
    assert states(office, page)["Bob"] == "waiting"


def test_a_race_sends_a_limited_number_per_day(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_links, "MAX_BY_RACE", 1)
    assert "Sent 1 links. A race sends 1 links per day." in send(office, page)
    assert states(office, page)["Bob"] == "waiting"


def test_a_full_address_is_named_and_holds_up_nobody(
    office: Client, page: str, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_links, "MAX_TO_ADDRESS", 2)
    monkeypatch.setattr(setup_links, "MAX_PER_TURN", 4)
    club = "".join(f"{n},Kid {n},Club@runs.example\n" for n in range(10, 19))
    enter(race, f"bib,name,mail\n{club}90,Eve,eve@runs.example\n")
    text = send(office, page)
    assert "Sent 4 links." in text
    assert "wait until tomorrow" not in text
    text = send(office, page)
    assert "Sent 1 links. 7 wait until tomorrow: an address gets" in text
    assert states(office, page)["Eve"] == "sent"


@pytest.mark.parametrize("limit", ["MAX_BY_SERVER", "MAX_BY_RACE"])
def test_turns_that_send_nothing_use_up_no_address(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    def fail(self: EmailMessage, **_: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(setup_links, "MAX_TO_ADDRESS", 1)
    with monkeypatch.context() as patch:
        patch.setattr(setup_links, limit, 0)
        assert "Sent 0 links." in send(office, page)
    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", fail)
        send(office, page)
    assert "Sent 2 links." in send(office, page)


@pytest.mark.parametrize("change", ["address", "account"])
def test_who_changes_during_a_turn_gets_no_link_of_it(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    deliver, account = EmailMessage.send, make_user("bob")

    def send_first(self: EmailMessage, **_: Any) -> None:
        deliver(self)
        if change == "address":
            Entry.objects.filter(bib="2").update(mail="new@runs.example")
        else:
            Runner.objects.filter(name="Bob").update(account=account)

    monkeypatch.setattr(EmailMessage, "send", send_first)
    assert "Sent 1 links." in send(office, page)
    assert Entry.objects.get(bib="2").setup_sent_at is None
    assert RunnerToken.objects.usable().count() == 1


def test_links_end_when_the_owner_of_their_address_stops_all_mails(
    office: Client, page: str
) -> None:
    send(office, page)
    tokens = {message.to[0]: token_in(message) for message in mail.outbox}
    address_suppress(address="ANN@runs.example", reason="unsubscribed")
    assert find_token(tokens["ann@runs.example"]) is None
    assert find_token(tokens["bob@runs.example"]) is not None
    assert states(office, page)["Ann"] == "no mail"


def test_links_of_races_with_similar_names_are_apart(
    office: Client, page: str, race: Race
) -> None:
    Race.objects.update(slug="a" * 59 + "1")
    other = Race.objects.create(slug="a" * 59 + "2", start=race.start, ends=race.ends)
    send(office, page)
    Entry.objects.create(race=other, runner=Runner.objects.get(name="Ann"), bib="7")
    other.entries.all().end_setup_links()
    assert RunnerToken.objects.usable().count() == 2


def test_addresses_that_refuse_mails_are_deleted(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: EmailMessage, **_: Any) -> None:
        raise SMTPRecipientsRefused({self.to[0]: (550, b"unknown")})

    address_suppress(address="ANN@runs.example", reason="unsubscribed")
    monkeypatch.setattr(EmailMessage, "send", refuse)
    assert "1 addresses take no mails" in send(office, page)
    assert not Entry.objects.exclude(mail="").exists()
    assert not RunnerToken.objects.usable().exists()


@pytest.mark.parametrize(
    "refusal",
    [
        SMTPRecipientsRefused({"ann@runs.example": (450, b"greylisted")}),
        SMTPDataError(552, b"mailbox full"),
    ],
)
def test_an_address_that_takes_no_mail_now_is_kept_and_holds_nobody_up(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch, refusal: OSError
) -> None:
    sent: list[str] = []

    def send_to_bob(self: EmailMessage) -> None:
        if self.to[0].startswith("ann"):
            raise refusal
        sent.append(self.to[0])

    monkeypatch.setattr(EmailMessage, "send", send_to_bob)
    assert "The mail server did not take 1: send again later." in send(office, page)
    assert sent == ["bob@runs.example"]
    waiting = Entry.objects.exclude(mail="").filter(setup_sent_at=None)
    assert [entry.mail for entry in waiting] == ["ann@runs.example"]


def test_links_that_could_not_be_sent_are_sent_later(
    office: Client, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: EmailMessage, **_: Any) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", fail)
        assert "The mail server does not respond." in send(office, page)
    assert not RunnerToken.objects.usable().exists()
    assert "Sent 2 links." in send(office, page)


def test_addresses_are_shown_to_those_who_issue_tokens_only(race: Race) -> None:
    export = f"/admin/runners/race/{race.pk}/start-list.csv"
    for role in Role:
        user = make_user(f"a {role}")
        role_set(race=race, user=user, role=role)
        client = signed_in(user)
        issues = role in (Role.OWNER, Role.OFFICE)
        assert ("ann@runs.example" in client.get(export).text) == issues
        for page in ("setup-links/", "setup-links.csv"):
            answer = client.get(f"/admin/runners/race/{race.pk}/{page}")
            assert answer.status_code == (200 if issues else 403)
    for public in ("standings.json", "standings.csv", "standings/", ""):
        assert "@runs" not in Client().get(f"/races/ten/{public}").text


def test_addresses_are_deleted_a_day_after_the_race(race: Race) -> None:
    prune_as_set()
    assert Entry.objects.exclude(mail="").count() == 2
    day = timedelta(hours=25)
    Race.objects.update(start=race.start - day, ends=timezone.now() - day)
    prune_as_set()
    assert not Entry.objects.exclude(mail="").exists()
