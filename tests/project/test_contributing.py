"""The examples of CONTRIBUTING.md work, and tests/README.md names all modules."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from typing import Any

from runners.intake.app import App, Outcome, Report
from runners.positions.fix import Fix
from runners.positions.validation import FixError
from tests.servers import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_example_of_a_phone_app_works() -> None:
    (code,) = re.findall(r'```python\n("""Beacon.*?)```', TEXT, re.DOTALL)
    assert code.count("\n") <= 40
    module: dict[str, Any] = {}
    exec(code, module)  # noqa: S102
    app: App = module["BEACON"]
    points = [
        {"at": "2026-11-25T10:00:00Z", "pos": [48.5, 2.5], "kmh": 9},
        {"at": 1795600805, "pos": "here"},
    ]
    body = json.dumps({"points": points}).encode()
    reading = app.read(Report("POST", {}, "application/json", "", body, 0))
    fix, refused = reading.fixes
    assert isinstance(fix, Fix) and (fix.lat, fix.speed) == (48.5, 2.5)
    assert isinstance(refused, FixError) and refused.code == "position.invalid"
    reply = app.ok(Outcome(1, [(1, refused.code, refused.detail)]))
    assert json.loads(reply.body) == {"saved": 2}


def test_all_named_make_targets_exist() -> None:
    named = set(re.findall(r"\bmake ([a-z0-9-]+)", TEXT)) - {"sure"}
    text = (ROOT / "Makefile").read_text().replace("%", "*")
    made = re.findall(r"^([a-z*-]+):", text, re.MULTILINE)
    assert [name for name in named if not any(fnmatch(name, m) for m in made)] == []


def test_the_map_of_the_tests_is_complete() -> None:
    named = set(re.findall(r"\btest_\w+\.py", (ROOT / "tests/README.md").read_text()))
    assert named == {path.name for path in (ROOT / "tests").rglob("test_*.py")}
