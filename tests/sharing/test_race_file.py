"""A race file restores the same race, and a bad file imports nothing."""

from __future__ import annotations

import gzip
import json
import re
import stat
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from runners import race_file
from runners.management.commands.demo import race_restart
from runners.models import (
    Entry,
    LatestPosition,
    Position,
    Race,
    Runner,
    RunnerToken,
    ShareLink,
    Split,
)
from runners.positions.running import live_status
from runners.preferences.runner_settings import positions_erase, zone_add
from runners.races.arrival.pacing import shipped
from runners.views.races import listing
from tests.servers import ROOT

# Views read in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

RUNNER_COUNT = 5


@pytest.fixture
def race(tmp_path: Path) -> Race:
    """A race under way: one runner has finished, one split was set by hand."""
    race_restart(RUNNER_COUNT)
    race = Race.objects.get()
    race.visibility = Race.Visibility.PUBLIC
    race.pacing = pacing(source="2025.csv")
    race.save()
    first = race.entries.order_by("pk")[0]
    split = first.splits.order_by("time").last()
    assert split is not None
    split.by_hand = True
    split.save()
    return race


@pytest.fixture
def file(race: Race, tmp_path: Path) -> Path:
    path = tmp_path / "demo.jsonl.gz"
    run("export_race", "demo", str(path))
    return path


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def pacing(**fields: object) -> dict[str, Any]:
    return shipped().as_json() | fields


def public_data() -> dict[str, Any]:
    """Return the public data: standings with splits, course, tracks, status."""
    listing.forget_kept()
    client = Client()
    standings = client.get("/races/demo/standings.json?splits=1").json()
    del standings["time"]
    race = Race.objects.get(slug="demo")
    return {
        "standings": standings,
        "line": race.line,
        "pacing": race.pacing,
        "checkpoints": list(race.checkpoints.values_list("name", "distance", "kind")),
        "tracks": {
            code: client.get(f"/runners/{code}/track.json").json()["points"]
            for code in Runner.objects.values_list("code", flat=True)
        },
        "live": {
            entry.runner.code: live_status(entry.pk, entry.status, entry.runner.latest)
            for entry in Entry.objects.select_related("runner__latest")
            if hasattr(entry.runner, "latest")
        },
    }


def delete_all() -> None:
    Race.objects.all().delete()
    Runner.objects.all().delete()


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()
    ]


def write_lines(file: Path, lines: list[Any]) -> None:
    file.write_bytes(gzip.compress(b"\n".join(json.dumps(n).encode() for n in lines)))


def test_an_import_into_an_empty_database_restores_the_race(
    race: Race, file: Path
) -> None:
    runner = race.entries.order_by("pk")[0].runner
    latest = runner.latest
    latest.race_state = {
        "entry": race.entries.get(runner=runner).pk,
        "version": 1,
        "state": {"g": 1, "s": "off_course", "t": 5},
    }
    latest.save()
    RunnerToken.objects.issue(runner, name="phone")
    output = run("export_race", "demo", str(file))
    before = public_data()
    assert before["live"][runner.code] == "off_course"
    assert output == (
        f"Park loop: {RUNNER_COUNT} entries, {Split.objects.count()} splits and "
        f"{Position.objects.count():,} positions are in {file}.\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(before["standings"]["standings"]) == RUNNER_COUNT
    # The last wave has not started.
    assert sum(map(bool, before["tracks"].values())) == RUNNER_COUNT - 1
    delete_all()

    output = run("import_race", str(file))

    assert output.startswith(f"Park loop (/races/demo/): {RUNNER_COUNT} entries, ")
    assert public_data() == before
    assert not RunnerToken.objects.exists()
    digests = b"digest" in gzip.decompress(file.read_bytes())
    assert not digests


def test_an_existing_race_is_replaced_with_replace_only(race: Race, file: Path) -> None:
    before = public_data()
    link, _ = ShareLink.objects.issue(label="Press", expires_at=race.ends, race=race)
    with pytest.raises(CommandError, match="race demo already. With --replace") as no:
        run("import_race", str(file))
    assert "\n" not in str(no.value)
    Split.objects.all().delete()
    Position.objects.filter(runner=race.entries.order_by("pk")[0].runner).delete()
    race.checkpoints.all().delete()
    assert public_data() != before

    run("import_race", str(file), "--replace")

    assert public_data() == before
    assert Race.objects.get().pk == race.pk
    assert ShareLink.objects.get() == link
    run("import_race", str(file), "--replace")
    assert public_data() == before


def test_tracks_can_be_omitted(race: Race, file: Path) -> None:
    before = public_data()
    assert "and 0 positions" in run(
        "export_race", "demo", str(file), "--without-tracks"
    )
    delete_all()
    run("import_race", str(file))
    assert public_data()["standings"] == before["standings"]
    assert not Position.objects.exists()


def test_positions_of_a_different_day_are_not_exported(race: Race, file: Path) -> None:
    runner = race.entries.order_by("pk")[0].runner
    training = race.start - timedelta(days=1)
    for row in Position.objects.filter(runner=runner)[:1]:
        row.pk, row.recorded_at = None, training
        row.save()
    later = runner.latest
    later.recorded_at = race.ends + timedelta(days=1)
    later.save()
    run("export_race", "demo", str(file))
    before = public_data()["standings"]
    delete_all()
    run("import_race", str(file))
    assert not Position.objects.filter(recorded_at=training).exists()
    # Otherwise their progress would be larger.
    assert not LatestPosition.objects.filter(runner__code=runner.code).exists()
    assert public_data()["standings"] == before


def test_entries_that_are_not_accepted_are_omitted(race: Race, file: Path) -> None:
    entry = race.entries.order_by("pk")[0]
    entry.runner.account = User.objects.create_user("bob")
    entry.runner.save()
    entry.accepted = False
    entry.save()
    output = run("export_race", "demo", str(file))
    assert "Left out: 1 whose runners have not accepted" in output
    assert entry.runner.code.encode() not in gzip.decompress(file.read_bytes())


def test_later_decisions_of_runners_stay_in_force(race: Race, file: Path) -> None:
    """Accounts must accept entries; hidden and erased positions are not imported."""
    erased, hidden, named, *_ = (entry.runner for entry in race.entries.order_by("pk"))
    named.account = User.objects.create_user("bob")
    named.save()
    race.delete()
    positions_erase(runner=erased)
    place = hidden.latest
    zone_add(runner=hidden, name="Home", lat=place.lat, lng=place.lng, radius=5_000)

    run("import_race", str(file))

    assert not Position.objects.filter(runner__in=[erased, hidden]).exists()
    assert not LatestPosition.objects.filter(runner__in=[erased, hidden]).exists()
    assert not Entry.objects.get(runner=named).accepted
    # An entry that was accepted before stays accepted.
    Entry.objects.filter(runner=named).update(accepted=True)
    run("import_race", str(file), "--replace")
    assert Entry.objects.get(runner=named).accepted


def test_a_code_of_a_different_runner_is_refused(race: Race, file: Path) -> None:
    runner = race.entries.order_by("pk")[0].runner
    race.delete()
    Runner.objects.filter(pk=runner.pk).update(name="Somebody else")
    with pytest.raises(CommandError, match=rf"Runner {runner.code} is Somebody else"):
        run("import_race", str(file))
    assert not Race.objects.exists()


Change = Callable[[list[Any]], object]


def set_field(kind: str, key: str, value: object) -> Change:
    def change(lines: list[Any]) -> None:
        next(line[kind] for line in lines if kind in line)[key] = value

    return change


def double(kind: str) -> Change:
    def change(lines: list[Any]) -> None:
        at = next(n for n, line in enumerate(lines) if kind in line)
        lines.insert(at, lines[at])
        lines[-1]["end"]["lines"] += 1

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines.pop(), "The file is incomplete: its end is missing."),
        (lambda lines: lines.pop(-2), "line 8: 7 lines come before this one, not 6"),
        (lambda lines: lines.clear(), "The file is incomplete"),
        (
            lambda lines: lines[0].update(format=2),
            "line 1: The file's format is 2, and",
        ),
        (lambda lines: lines[0].update(spectate="x"), "line 1: This is not a file of"),
        (lambda lines: lines.insert(1, 7), "line 2: This is not a file of"),
        (lambda lines: lines.insert(2, {"song": {}}), "line 3: A line is one of race"),
        (lambda lines: lines.append(lines[1]), r"line \d+: `race` cannot come here"),
        (lambda lines: lines[1]["race"].pop("name"), "line 2: race: 'name' is missing"),
        (set_field("race", "ends", "soon"), "line 2: race: ends: .*invalid"),
        (set_field("race", "ends", "2020-01-01T00:00Z"), "a_race_ends_after_its_start"),
        (set_field("race", "line", [[1, 2]]), "line 2: race: The course has only one"),
        (set_field("race", "line", [[1, "x"]]), "line 2: race: "),
        (set_field("race", "pacing", [1]), "line 2: race: list indices must be"),
        (set_field("race", "pacing", {}), "line 2: race: 'middle' is missing"),
        (set_field("race", "pacing", pacing(late=[1])), "line 2: race: These are not"),
        (set_field("race", "pacing", pacing(length="x")), "line 2: race: '<' not"),
        (set_field("wave", "start", None), "line 3: wave: start: .*null"),
        (
            set_field("checkpoint", "kind", "x"),
            "checkpoint: kind: .*not a valid choice",
        ),
        (set_field("runner", "code", "a b"), "runner: code: Use 1 to 40 letters"),
        (
            set_field("entry", "runner", "nobody"),
            "entry: 'nobody' is missing or unknown",
        ),
        (set_field("entry", "bib", ""), "entry: bib: This field cannot be blank"),
        (set_field("entry", "runner", []), "entry: unhashable"),
        (set_field("split", "time", 5), "split: "),
        (set_field("track", "fixes", [[1, 2]]), "track: "),
        (set_field("track", "fixes", [[0] * 11]), r"track: \[0, .* is not a fix"),
        (
            set_field("track", "fixes", [[0, 91.0, *[None] * 6, 0, "", False]]),
            "track: lat must be a number from -90 to 90",
        ),
        (double("split"), "a split contradicts another"),
    ],
)
def test_a_bad_file_is_explained_and_imports_nothing(
    tmp_path: Path, small_file: bytes, change: Change, message: str
) -> None:
    file = tmp_path / "bad.jsonl.gz"
    lines = [json.loads(line) for line in small_file.splitlines()]
    change(lines)
    write_lines(file, lines)
    with pytest.raises(CommandError) as refusal:
        run("import_race", str(file))
    output = str(refusal.value)
    assert re.search(message, output), output
    assert output.startswith(f"{file}: ") and output.endswith(" Nothing was imported.")
    assert "\n" not in output
    for model in (Race, Runner, Position, Entry):
        assert not model.objects.exists()


@pytest.fixture(scope="module")
def small_file() -> bytes:
    """The lines of a file with one runner."""
    now = timezone.now()
    race = {
        **{"slug": "ten", "name": "Ten", "start": str(now), "timezone": "UTC"},
        **{"ends": str(now + timedelta(hours=1)), "line": [[0, 0], [0, 0.1]]},
        **{"length": 11_131.9, "top_speed": 12.5, "visibility": "public"},
        "pacing": None,
    }
    runner = {
        **{"code": "bob", "name": "Bob", "colour": "", "visibility": "public"},
        **{"cheers": True, "sharing_ends_at": None, "latest": None},
    }
    entry = {
        **{
            "runner": "bob",
            "wave": "A",
            "bib": "1",
            "category": "",
            "club": "",
            "accepted": True,
        },
        **{"status": "started", "started_at": str(now), "finished_at": None},
        **{"out_at": None, "shows_estimate": True},
    }
    split = {
        **{"runner": "bob", "checkpoint": 1, "pass_number": 1, "time": str(now)},
        **{"uncertainty": 0, "by_hand": False, "by_mat": False, "by_file": False},
    }
    fix = [round(now.timestamp() * 1000), 0.0, 0.1, *[None] * 6, "generic", False]
    lines = [
        {"spectate": "race", "format": 1},
        {"race": race},
        {"wave": {"name": "A", "start": str(now)}},
        {"checkpoint": {"id": 1, "name": "Start", "distance": 0, "kind": "start"}},
        {"runner": runner},
        {"entry": entry},
        {"split": split},
        {"track": {"runner": "bob", "fixes": [fix]}},
        {"end": {"lines": 7}},
    ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def test_a_good_small_file_is_imported(tmp_path: Path, small_file: bytes) -> None:
    file = tmp_path / "good.jsonl.gz"
    file.write_bytes(gzip.compress(small_file))
    run("import_race", str(file))
    assert Split.objects.get().entry.runner.code == "bob"


def test_the_document_names_every_field() -> None:
    text = (ROOT / "docs/race_file.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.M))
    named = {kind: set(re.findall(r"`(\w+)`", row)) for kind, row in rows.items()}
    assert named == {
        "race": set(race_file.RACE),
        "wave": set(race_file.WAVE),
        "checkpoint": {"id", *race_file.CHECKPOINT},
        "runner": {"latest", *race_file.RUNNER},
        "entry": {"runner", "wave", *race_file.ENTRY},
        "split": {"runner", "checkpoint", *race_file.SPLIT},
        "track": {"runner", "fixes"},
        "end": {"lines"},
    }
    assert tuple(named) == race_file.KINDS
    assert f'"format": {race_file.FORMAT}' in text
    fix = text.partition("A FIX is")[2].partition("All from")[0]
    assert tuple(re.findall(r"`(\w+)`", fix)) == race_file.FIX


def test_a_missing_or_unusable_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(CommandError, match=f"Cannot read {file}: No such file"):
        run("import_race", str(file))
    file.write_text("hello")
    with pytest.raises(
        CommandError, match="This is not a file of `manage.py export_race`"
    ):
        run("import_race", str(file))
    with pytest.raises(CommandError, match="There is no race ten"):
        run("export_race", "ten", str(file))


def test_a_part_of_a_file_is_refused(race: Race, file: Path) -> None:
    content = file.read_bytes()
    delete_all()
    for part in (
        content[: len(content) // 2],
        content[:-4],
        content[:40] + content[41:],
    ):
        file.write_bytes(part)
        with pytest.raises(CommandError, match="Nothing was imported"):
            run("import_race", str(file))
        assert not Race.objects.exists()


def test_an_unwritable_file_is_named(race: Race, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Cannot write .*: No such file"):
        run("export_race", "demo", str(tmp_path / "nowhere" / "file"))
