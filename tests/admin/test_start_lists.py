from __future__ import annotations

import csv
import io
import re
from datetime import datetime
from html import unescape
from typing import Any
from zipfile import ZipFile

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from openpyxl import Workbook, load_workbook

from runners.models import Entry, Race, RightsChange, Runner, RunnerToken, Wave
from runners.rights.token_lookup import find_token
from runners.startlist import spreadsheet
from runners.startlist.importing import tokens_issue
from tests.admin import start_lists
from tests.races.field import make_entry, make_race

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(park: Race) -> str:
    for name in "AB":
        Wave.objects.create(race=park, name=name, start=park.start)
    return f"/admin/runners/race/{park.pk}/start-list/"


def upload(office: Client, url: str, content: str | bytes) -> str:
    """Upload a file; return its preview."""
    content = content.encode() if isinstance(content, str) else content
    page = office.post(url, {"file": SimpleUploadedFile("list", content)})
    assert page.status_code == 200
    return page.text


def confirm(office: Client, url: str, page: str) -> str:
    return office.post(url, {"rows": signed_rows(page)}, follow=True).text


def signed_rows(page: str) -> str:
    found = re.search(r'name="rows" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def import_list(office: Client, url: str, content: str | bytes) -> str:
    return confirm(office, url, upload(office, url, content))


def faults(page: str) -> list[tuple[int, str, str]]:
    """Return the faults of a preview: row, column, message."""
    table = page.partition('id="faults"')[2].partition("</table>")[0]
    rows = re.findall(r"<td>(\d+)</td><td>(\w+)</td><td>.*?</td><td>(.*?)</td>", table)
    return [(int(row), column, unescape(message)) for row, column, message in rows]


def workbook(*rows: list[Any]) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_2000_rows_with_20_faults_import_the_rest_in_few_queries(
    office: Client, park: Race, url: str
) -> None:
    with CaptureQueriesContext(connection) as preview:
        page = upload(office, url, start_lists.start_list_csv())

    assert {(row, column) for row, column, _ in faults(page)} == {
        (row, column) for row, (column, _) in start_lists.FAULTS.items()
    }
    assert not park.entries.exists()
    with CaptureQueriesContext(connection) as entering:
        page_after = confirm(office, url, page)
    assert "1980 entered, 0 changed, 0 as before, 20 rows left out" in page_after
    # The import takes three seconds of one core and makes no query per row.
    assert len(preview) < 50 and len(entering) < 100
    assert park.entries.count() == Runner.objects.count() == 1_980
    entry = park.entries.select_related("wave", "runner").get(bib="17")
    assert (entry.category, entry.wave and entry.wave.name) == ("W40", "A")
    assert entry.runner.code == "17-runner-nandu-17"
    assert entry.runner.visibility == "race"
    assert entry.runner.colour


def test_a_repeated_import_updates_entries(
    office: Client, park: Race, url: str
) -> None:
    import_list(office, url, "bib,name,club\n17,Bob,Mill\n18,Alice,\n")

    page = upload(office, url, "bib,name,club\n17,Robert,Mill\n18,Alice,\n19,Eve,\n")

    assert "<del>Bob</del> <ins>Robert</ins>" in page
    assert "1 entered, 1 changed, 1 as before" in confirm(office, url, page)
    assert dict(park.entries.values_list("bib", "runner__name")) == {
        "17": "Robert",
        "18": "Alice",
        "19": "Eve",
    }
    assert Runner.objects.get(code="17-bob").name == "Robert"
    assert park.entries.get(club="Mill").bib == "17"


def test_the_code_identifies_the_runner_and_the_bib_may_change(
    office: Client, park: Race, bob: Runner, url: str
) -> None:
    import_list(office, url, "bib,name,code\n1,Bob,17\n")
    import_list(office, url, "bib,name,code,wave\n2,,17,a\n")

    entry = park.entries.get()
    assert (entry.bib, entry.runner) == ("2", bob)
    assert entry.wave is not None and entry.wave.name == "A"


def test_a_bib_of_a_different_runner_is_a_fault(
    office: Client, park: Race, bob: Runner, url: str
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="1")

    page = upload(office, url, "bib,name,code\n1,Charlie,charlie\n")

    assert faults(page) == [
        (
            2,
            "bib",
            "The bib 1 belongs to Bob, whose code is 17. "
            "Give one of them a different bib.",
        )
    ]
    assert 'type="submit" class="default"' not in page


def test_a_runner_with_an_account_accepts_and_keeps_their_name(
    office: Client, park: Race, bob: Runner, url: str
) -> None:
    bob.account = User.objects.create(username="bob")
    bob.save()

    import_list(
        office, url, "bib,name,code,visibility\n1,Robert,17,public\n2,Eve,,public\n"
    )

    accepted = dict(park.entries.values_list("runner__name", "accepted"))
    assert accepted == {"Bob": False, "Eve": True}


def test_a_reduced_visibility_is_recorded(office: Client, park: Race, url: str) -> None:
    import_list(office, url, "bib,name,visibility\n1,Bob,public\n")
    RightsChange.objects.all().delete()

    import_list(office, url, "bib,name,visibility\n1,Bob,private\n")

    assert Runner.objects.get().visibility == "private"
    assert RightsChange.objects.filter(key=Runner.objects.get().pk).exists()


@pytest.mark.parametrize(
    "content",
    [
        "bib;name\n17;Zoë\n".encode("utf-8-sig"),
        "Name\tBIB\r\nZoë\t17\r\n".encode("utf-16"),
        "bib,name\n\n17,Zoë\n".encode("latin-1"),
        'bib|name|note\n17|"Zoë"\n'.encode(),
        workbook(["Bib", "Name", "When"], [17.0, "Zoë", datetime(2026, 5, 31)]),
    ],
)
def test_a_file_is_read_in_common_formats(
    office: Client, park: Race, url: str, content: bytes
) -> None:
    import_list(office, url, content)

    assert list(park.entries.values_list("bib", "runner__name")) == [("17", "Zoë")]


def test_names_in_windows_1252_keep_their_characters(
    office: Client, park: Race, url: str
) -> None:
    # The characters of bytes 80 to 9f, which Latin-1 lacks.
    names = {"1": "Žofie Šimková", "2": "Lœtitia O’Brien – D’Œuvre"}
    rows = "".join(f"{bib};{name}\r\n" for bib, name in names.items())
    import_list(office, url, f"bib;name\r\n{rows}".encode("cp1252"))

    assert dict(park.entries.values_list("bib", "runner__name")) == names


def test_a_row_keeps_its_number_below_empty_ones(office: Client, url: str) -> None:
    sheet = workbook(["bib", "name"], [], [1, "Bob"], [None, None], [None, "Eve"])

    assert faults(upload(office, url, sheet)) == [(5, "bib", "The bib is missing.")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"number,name\n1,Bob\n", "has no column “bib”; it has: number, name."),
        (b"bib,name\n", "has headings, but no runners"),
        (b"bib,name,bib\n1,Bob,2\n", "several columns “bib”"),
        (b"PK\x03\x04 no zip", "neither a CSV nor an XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel file"),
        (b"\x89PNG\r\n\x1a\n\0", "neither a CSV nor an XLSX"),
        (b"bib,name\n1," + b"x" * 140_000 + b"\n", "Row 2 cannot be read"),
        (b"bib,name\n" + b"1,x\n" * 1_400_000, "larger than 5 MB"),
        (b"bib,name\n" + b"1,x\n" * 10_001, "more than 10,000 rows"),
    ],
)
def test_an_unusable_file_is_refused_with_a_reason(
    office: Client, url: str, content: bytes, message: str
) -> None:
    assert message in upload(office, url, content)


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml"])
def test_an_xlsx_file_with_entities_is_refused(
    office: Client, url: str, part: str
) -> None:
    """Entities would expand a file of 12.5 kB to 1.6 GB of memory."""
    content = workbook(["bib", "name"], [1, "Bob"])
    assert "Bob" in upload(office, url, content)
    out = io.BytesIO()
    with ZipFile(io.BytesIO(content)) as before, ZipFile(out, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == part:
                declared = b'<!DOCTYPE x [<!ENTITY e "Eve">]>'
                data = re.sub(rb"^(<\?xml[^>]*>)?", rb"\g<0>" + declared, data)
            after.writestr(name, data)
    assert "neither a CSV nor an XLSX" in upload(office, url, out.getvalue())


def test_the_unpacked_size_is_limited(
    office: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_BYTES", 1_000)

    assert "The unpacked file is larger" in upload(
        office, url, workbook(["bib", "name"], [1, "Bob"])
    )


def test_only_previewed_rows_are_imported(office: Client, park: Race, url: str) -> None:
    page = office.post(url, {"rows": "forged"}, follow=True).text

    assert "Upload the file again" in page
    assert not park.entries.exists()


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_an_export_can_be_imported_and_has_no_formula(
    office: Client, park: Race, url: str, kind: str
) -> None:
    import_list(office, url, "bib,name,category\n17,=1+1,@home\n9,-Bob,+M\n")

    exported = office.get(url.replace("start-list/", f"start-list.{kind}")).content

    if kind == "csv":
        cells = list(csv.reader(io.StringIO(exported.decode("utf-8-sig"))))
    else:
        sheet = load_workbook(io.BytesIO(exported)).active
        assert sheet is not None
        cells = [[c or "" for c in row] for row in sheet.iter_rows(values_only=True)]
    assert [row[:4] for row in cells] == [
        ["bib", "name", "code", "category"],
        ["9", "'-Bob", "9-bob", "'+M"],
        ["17", "'=1+1", "17-11", "'@home"],
    ]
    again = upload(office, url, exported)
    assert "<strong>0</strong> changed" in again and not faults(again)
    assert "<strong>2</strong> as before" in again


def test_a_sheet_of_codes_has_one_for_each_runner_without_a_phone(
    office: Client, park: Race, url: str
) -> None:
    import_list(office, url, "bib,name\n17,Bob\n18,Alice\n")
    RunnerToken.objects.issue(Runner.objects.get(name="Alice"), name="watch")
    phones = url.replace("start-list", "phones")

    page = office.post(phones, {"app": "owntracks", "bibs": ""})

    assert page.text.count('class="qr"') == 1
    assert "Bob" in page.text and "Alice" not in page.text
    token = RunnerToken.objects.get(runner__name="Bob")
    assert token.expires_at == park.ends
    assert "no-store" in page["Cache-Control"]
    both = office.post(phones, {"app": "traccar", "bibs": "17, 18,99"}).text
    assert both.count('class="qr"') == 2
    assert "Not entered: 99." in both


def test_an_import_hands_out_a_token_for_each_phone_without_one(
    office: Client, park: Race, url: str
) -> None:
    content = "bib,name\n1,=Ann\n2,Bob\n3,Eve\n"
    import_list(office, url, content)
    RunnerToken.objects.issue(park.entries.get(bib="2").runner, name="phone")
    rows = signed_rows(upload(office, url, content))

    response = office.post(url, {"rows": rows, "tokens": ""})

    table = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert [(row["bib"], row["name"]) for row in table] == [
        ("1", "'=Ann"),
        ("3", "Eve"),
    ]
    for row in table:
        identity = find_token(row["token"])
        assert identity is not None
        assert (identity.publisher.code, identity.until) == (row["code"], park.ends)
    again = office.post(url, {"rows": rows, "tokens": ""}).content.decode("utf-8-sig")
    assert again.split() == ["bib,name,code,token"]


def test_only_the_race_office_changes_a_start_list(client: Client, url: str) -> None:
    alice = User.objects.create(username="alice", is_staff=True)
    client.force_login(alice)

    for page in (url, url.replace("start-list", "phones")):
        assert client.get(page).status_code == 403


def test_new_tokens_end_none_of_a_race_with_a_similar_name() -> None:
    one, two = (make_race(slug="a" * 59 + end) for end in "12")
    runners = Runner.objects.all()
    make_entry(one, "ann", "7")
    Entry.objects.create(race=two, runner=runners.get(), bib="7")
    assert len(tokens_issue(race=one, bibs=["7"], managed=runners, tokens="new")) == 1
    assert not tokens_issue(race=two, bibs=["7"], managed=runners, tokens="new")
    assert RunnerToken.objects.usable().count() == 1
