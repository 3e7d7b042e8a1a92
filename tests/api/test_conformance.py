"""Every client package passes every case of the scripted server."""

from __future__ import annotations

import asyncio
import shutil
from functools import cache

import pytest

from clients.conformance.packages import PACKAGES
from clients.conformance.suite import Outcome, cases_of, play_cases, table
from tests.servers import ROOT
from tests.services import unavailable


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
    outcomes = {package: outcome_of(package) for package in PACKAGES}
    assert table(outcomes) in (ROOT / "clients/README.md").read_text()
