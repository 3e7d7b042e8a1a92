"""Requests for the standings of a race, in each of their forms."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.test import Client

from runners.views.races import listing


def get_standings(client: Client, query: str = "", **headers: str) -> Any:
    listing.forget_kept()
    return client.get(f"/races/ten/standings.json{query}", headers=headers)


def page(client: Client, query: str = "") -> str:
    listing.forget_kept()
    answer = client.get(f"/races/ten/standings/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def ranks(answer: Any) -> list[tuple[str, int | None]]:
    return [(row["runner"], row["rank"]) for row in answer.json()["standings"]]


def table(client: Client, query: str = "") -> list[list[str]]:
    listing.forget_kept()
    answer = client.get(f"/races/ten/standings.csv{query}")
    assert answer["Content-Type"].startswith("text/csv")
    assert 'filename="ten.csv"' in answer["Content-Disposition"]
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
