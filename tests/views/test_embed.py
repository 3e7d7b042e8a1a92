"""The snippet for a web page of a club."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils.html import escape

from runners.models import Race, Runner
from tests.races.field import make_entry, make_field, make_race

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

Visibility = Runner.Visibility


def test_a_web_author_gets_the_snippet_for_a_page(client: Client) -> None:
    race = make_field(make_race())
    make_entry(race, "fay", "6", category="M50", visibility=Visibility.PRIVATE)
    html = client.get("/races/ten/embed/").content.decode()
    assert "/races/ten/?embed=1" in html
    query = "what=standings&category=W&height=400&lang=de"
    chosen = client.get(f"/races/ten/embed/?{query}").content.decode()
    path = "/races/ten/standings/?embed=1&category=W&lang=de"
    assert f'src="{escape(path)}"' in chosen
    # A text in an attribute.
    snippet = f'"{escape(path)}" title="Ten" width="100%" height="400"'
    assert escape(snippet)[6:] in chosen
    # What the snippet shows.
    assert "Cleo" in client.get(path).content.decode()
    wrong = client.get("/races/ten/embed/?category=none&height=9").content.decode()
    assert wrong.count('class="error"') == 2
    # A big screen has a code that opens the page.
    assert 'class="qr"' in client.get("/races/ten/?screen=1").content.decode()
    # The only one of a category is hidden.
    assert ">M50<" not in html
    Runner.objects.filter(code="fay").update(visibility=Visibility.PUBLIC)
    assert ">M50<" in client.get("/races/ten/embed/").content.decode()
    Race.objects.update(visibility=Race.Visibility.LINK)
    assert client.get("/races/ten/embed/").status_code == 404
