"""The check of commit messages that `make lint` runs."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import pytest

from tests.servers import ROOT

faults: Callable[[str], list[str]] = runpy.run_path(str(ROOT / ".ci/commits"))["faults"]


@pytest.mark.parametrize(
    "message",
    ["Add a check", "Bring courses", "Fix it\n\nIt was broken; now it is not."],
)
def test_a_message_with_an_imperative_subject_passes(message: str) -> None:
    assert faults(message) == []


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("Adds a check", "“Adds” is not imperative."),
        ("Fixed it", "“Fixed” is not imperative."),
        ("what it does", "does not start with a capitalised verb"),
        ("Rename it; move it", "make two commits"),
        ("Add a check.", "ends with a full stop"),
        (f"Add {'x' * 69}", "has 73 characters, not 72"),
        ("Add a check\nbody", "no blank line"),
    ],
)
def test_each_fault_of_a_message_is_named(message: str, fault: str) -> None:
    (found,) = faults(message)
    assert fault in found
