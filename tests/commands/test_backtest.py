from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.races.finishers import MATS_M, results_csv

FIELDS = {
    *("asked_at", "for", "n", "mae_s", "median_s", "bias_s", "held", "width_s"),
    *("score_s", "naive_mae_s", "last_mae_s", "riegel_mae_s"),
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    path.write_text(results_csv(80, 1))
    return path


def backtest(*arguments: object) -> str:
    out = StringIO()
    # pytest-django makes database access fail in tests without the marker.
    call_command("backtest", *map(str, arguments), stdout=out, stderr=StringIO())
    return out.getvalue()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_question_is_one_object(results: Path) -> None:
    found = lines(backtest(results, "--ask", "10000,30000", "--json"))
    assert [(q["asked_at"], q["for"]) for q in found] == [
        (asked, mat) for asked in (10_000, 30_000) for mat in MATS_M if mat > asked
    ]
    assert all(set(question) == FIELDS for question in found)
    assert {question["n"] for question in found} == {80}


def test_each_answer_is_one_line(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    arguments = (
        results,
        "--ask",
        "30000",
        "--out",
        out,
        "--limit",
        5,
        "--wobble",
        0.04,
    )
    backtest(*arguments)
    answers = lines(out.read_text())
    assert len(answers) == 5 * 3
    for answer in answers:
        assert set(answer) == {"row", "asked_at", "for", "at_s", "low_s", "high_s"}
        assert answer["low_s"] < answer["at_s"] < answer["high_s"]
    first = out.read_text()
    backtest(*arguments)
    assert out.read_text() == first


def test_the_table_is_readable(results: Path) -> None:
    table = backtest(results, "--ask", "30000").splitlines()
    assert len(table) == 2 + 3
    assert table[2].startswith("| 30 km | 35 km | 80 |")


def test_answers_depend_on_the_learned_results(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(results_csv(300, 2, fade=0.4))
    usual, learned = (
        lines(backtest(results, "--ask", "21097.5", "--json", *more))[-1]["bias_s"]
        for more in ((), ("--learn", other))
    )
    assert learned > usual + 60


def test_a_short_race_is_asked_at_its_mats(tmp_path: Path) -> None:
    path = tmp_path / "five.csv"
    path.write_text("2500,5000\n900,1850\n1000,\n")
    (question,) = lines(backtest(path, "--json"))
    assert (question["asked_at"], question["for"], question["n"]) == (2_500, 5_000, 1)


def test_the_reason_for_no_answers_is_given(tmp_path: Path) -> None:
    path = tmp_path / "mile.csv"
    path.write_text("1000,1609\n250,420\n")
    err = StringIO()
    call_command("backtest", str(path), stdout=StringIO(), stderr=err)
    assert "after 2000 m and 300 s" in err.getvalue()


def test_races_of_different_lengths_are_not_learned_together(
    results: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.csv"
    short.write_text(results_csv(80, 1, mats=(2_500, 5_000)))
    with pytest.raises(CommandError, match="5,000 m long, and one 42,195 m"):
        backtest(results, "--learn", short, results)


def test_a_missing_split_is_no_question(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("5000,10000,20000\n1500,3000,6100\n1500,,6100\n1500,3000,\n")
    found = lines(backtest(path, "--ask", "5000,10000", "--json"))
    assert {(q["asked_at"], q["for"]): q["n"] for q in found} == {
        (5_000, 10_000): 2,
        (5_000, 20_000): 2,
        (10_000, 20_000): 1,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.csv",), "Cannot read nowhere.csv"),
        (("--ask", "half"), "not a list of metres"),
        (("--ask", "50000"), "the finish is at 42195 m"),
        (("--limit", "0"), "at least 1"),
        (("--wobble", "4"), "from 0 to 0.5"),
        (("--seed=-1", "--wobble", "0.04"), "at least 0"),
        (("--course", "nowhere.gpx"), "Cannot read nowhere.gpx"),
        (("--out", "/nowhere/out"), "Cannot write /nowhere/out"),
    ],
)
def test_mistakes_are_explained_in_one_line(
    results: Path, arguments: tuple[str, ...], message: str
) -> None:
    files = () if arguments[0].endswith(".csv") else (results,)
    with pytest.raises(CommandError) as error:
        backtest(*files, *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_results_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("bib,name\n")
    with pytest.raises(CommandError, match="bad.csv: The header has to be distances"):
        backtest(path)
