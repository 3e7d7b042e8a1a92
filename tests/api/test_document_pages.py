"""The documents at /api/, for programs and as pages."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from django.test import Client

from runners.api.documents.content import DOCUMENTS
from tests.api.documents import Document, file_content

pytestmark = pytest.mark.django_db
NAMES = [*DOCUMENTS]


def html_of(client: Client, name: str) -> str:
    return client.get(f"/api/{name}/").content.decode()


def names_of(content: Any) -> set[str]:
    """Return the anchors of a document: of operations or messages, and of types."""
    operations = {
        operation["operationId"]
        for path in content.get("paths", {}).values()
        for operation in path.values()
        if "operationId" in operation
    }
    messages = {
        f"{name}-{message}"
        for name, channel in content.get("channels", {}).items()
        for message in channel["messages"]
    }
    return operations | messages | {*content["components"]["schemas"]}


@pytest.mark.parametrize("name", NAMES)
def test_page_shows_all_of_its_document(client: Client, name: str) -> None:
    assert f'href="/api/{name}/"' in client.get("/api/").content.decode()
    anchors = Counter(re.findall(r'id="([^"]+)"', html_of(client, name)))
    assert names_of(DOCUMENTS[name][0]()) <= anchors.keys()
    assert [anchor for anchor, count in anchors.items() if count > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_type_that_a_page_names_is_on_it(client: Client, name: str) -> None:
    html = html_of(client, name)
    anchors = re.findall(r'id="([^"]+)"', html)
    links = re.findall(r'href="#([^"]+)"', html)
    assert links and {*links} <= {*anchors}
    assert "#/components" not in html


def test_page_shows_inner_fields_and_limits(client: Client) -> None:
    html = html_of(client, "http")
    assert "<code>late[].fixes</code>" in html
    assert "list of object" in html
    assert "number, -90 to 90" in html


@pytest.mark.parametrize("name", NAMES)
def test_page_needs_no_script_and_no_style_of_its_own(
    client: Client, name: str
) -> None:
    html = html_of(client, name)
    assert "<script" not in html and "style=" not in html and "<style" not in html


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_programs_get_the_document_with_the_address_of_the_installation(
    client: Client, settings: Any, name: str
) -> None:
    response = client.get(f"/api/{name}.json")
    assert response["Access-Control-Allow-Origin"] == "*"
    served, file = response.json(), file_content(f"{name}.yaml")
    assert settings.PUBLIC_URL.partition("//")[2] in str(served.pop("servers"))
    del file["servers"]
    assert served == file


def test_the_description_is_served_without_a_key(organisers_api: Document) -> None:
    served = Client().get("/api/v1/openapi.json")
    assert served.json() == organisers_api.content


@pytest.mark.parametrize("name", ["openapi", "asyncapi", "v1/openapi"])
def test_the_documents_for_programs_can_only_be_read(name: str) -> None:
    answer = Client(enforce_csrf_checks=True).post(f"/api/{name}.json")
    assert (answer.status_code, answer.json()["code"]) == (405, "method.unsupported")


def test_page_of_no_document_does_not_exist(client: Client) -> None:
    assert client.get("/api/none/").status_code == 404
