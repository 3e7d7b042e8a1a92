from __future__ import annotations

import re
import subprocess
import sys

import pytest

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
