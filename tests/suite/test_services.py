from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import made_once
from tests.servers import ROOT, clean_environment
from tests.services import unavailable


def test_tests_with_a_missing_program_are_skipped_with_one_line() -> None:
    env = clean_environment(PATH="/nowhere")
    env.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/live/test_layer.py", "-k", "redis"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    reason = "Redis is not installed: apt-get install redis-server"
    (line,) = [line for line in done.stdout.splitlines() if "Redis" in line]
    assert re.fullmatch(rf"Tests left out: \d+\. {reason}", line)


def test_a_missing_program_fails_a_test_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="Redis is not installed"):
        unavailable("Redis", "apt-get install redis-server")


def test_what_a_failed_attempt_left_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_once, "shared_folder", lambda: tmp_path)

    def fail(path: Path) -> None:
        path.mkdir()
        raise OSError("The disk is full.")

    with pytest.raises(OSError, match="full"):
        made_once.made_once("folder", fail)
    assert made_once.made_once("folder", Path.mkdir) == tmp_path / "folder"
