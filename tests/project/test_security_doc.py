"""The table of docs/security.md is complete, and what it refers to exists."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.servers import ROOT

DOCUMENT = ROOT / "docs/security.md"
STATES = ("met", "partly", "gap", "n/a")
# The number of requirements of levels 1 and 2 in each section of ASVS 5.0.0. They are
# numbered before those of level 3.
SECTIONS: dict[int, tuple[int, ...]] = {
    1: (2, 9, 11, 3, 2),
    2: (3, 3, 4, 1),
    3: (0, 2, 4, 6, 5, 0, 2),
    4: (3, 1, 2, 4),
    5: (1, 3, 2, 3),
    6: (3, 12, 4, 4, 5, 3, 0, 4),
    7: (3, 4, 2, 5, 2, 2),
    8: (2, 3, 1, 1),
    9: (3, 4),
    10: (2, 2, 4, 11, 5, 2, 3),
    11: (2, 3, 3, 4, 1, 1),
    12: (3, 2, 4),
    13: (1, 5, 2, 5),
    14: (2, 4, 3),
    15: (3, 3, 7),
    16: (1, 5, 4, 3, 3),
    17: (1, 4, 2),
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def rows() -> Iterator[tuple[list[str], str, str]]:
    """Yield the requirements, the state and the references of each row."""
    for line in DOCUMENT.read_text().splitlines():
        if re.match(r"\| \d+\.\d", line):
            numbers, state, _, shown = cells(line)
            yield expanded(numbers), state, shown


def expanded(text: str) -> list[str]:
    """Return single numbers: `1.2.3-1.2.5, 1.3.1` has four."""
    found = []
    for part in text.split(", "):
        first, _, last = part.partition("-")
        section, _, start = first.rpartition(".")
        end = (last or first).rpartition(".")[2]
        found += [f"{section}.{n}" for n in range(int(start), int(end) + 1)]
    return found


def test_every_requirement_of_level_2_is_in_one_row() -> None:
    listed = Counter(number for numbers, _, _ in rows() for number in numbers)
    assert set(listed.values()) == {1}
    assert set(listed) == {
        f"{chapter}.{section}.{number}"
        for chapter, sections in SECTIONS.items()
        for section, count in enumerate(sections, 1)
        for number in range(1, count + 1)
    }
    assert listed.total() == 253


def test_the_counts_by_chapter_are_right() -> None:
    counts = Counter(
        (int(number.split(".")[0]), state)
        for numbers, state, _ in rows()
        for number in numbers
    )
    summary = {
        int(chapter.partition(" ")[0][1:]): [int(each) for each in numbers]
        for chapter, *numbers, _ in map(
            cells, re.findall(r"^\| V.*$", DOCUMENT.read_text(), re.MULTILINE)
        )
    }
    assert summary == {
        chapter: [counts[chapter, state] for state in STATES] for chapter in SECTIONS
    }


def test_what_is_met_is_shown_by_something() -> None:
    for numbers, state, shown in rows():
        assert state in STATES, numbers
        assert shown or state in ("gap", "n/a"), numbers


def test_the_named_tests_and_documents_exist() -> None:
    text = DOCUMENT.read_text()
    tests = set(re.findall(r"`(tests/[^`]*\.py)::(\w+)`", text))
    assert len(tests) > 50
    assert {test for test in tests if test[1] not in functions_of(test[0])} == set()
    for _, _, shown in rows():
        for reference in filter(None, shown.split(", ")):
            assert re.fullmatch(r"`tests/\S+::\w+`|\[[^]]+\]\([^)]+\)", reference)
    for target in re.findall(r"\]\(([^):#]+)[^)]*\)", text):
        assert target == "https" or (DOCUMENT.parent / target).exists(), target


@functools.cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse(Path(ROOT, path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | {
        node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)
    }
