"""Every client package passes every case of the scripted server."""

from __future__ import annotations

import asyncio
import shutil
from functools import cache

import pytest

from clients.conformance.suite import Outcome, cases_of, play_cases, table
from tests.servers import ROOT
from tests.services import unavailable

# `make clients` plays them with the other one too, which has to be compiled.
PACKAGES = ["Python", "JavaScript"]


@cache
def outcome_of(package: str) -> Outcome:
    if package == "JavaScript" and shutil.which("node") is None:
        unavailable("Node.js", ".ci/setup test")
    return asyncio.run(play_cases(package))


@pytest.mark.parametrize(
    ("package", "case"),
    [(package, case) for package in PACKAGES for case in cases_of(package)],
)
def test_a_package_passes_a_case(package: str, case: str) -> None:
    assert outcome_of(package)[case] == ""


def test_the_table_of_the_readme_is_the_printed_one() -> None:
    readme = (ROOT / "clients/README.md").read_text()
    columns = slice(0, 2 + len(PACKAGES))
    for row in table({p: outcome_of(p) for p in PACKAGES}).splitlines():
        assert any(
            line.split(" | ")[columns] == row.removesuffix(" |").split(" | ")
            for line in readme.splitlines()
        ), row
