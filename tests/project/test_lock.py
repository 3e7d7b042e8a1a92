"""The lock files, from which all Python packages are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(path: Path) -> dict[str, str]:
    """Return versions by normalized name."""
    return {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in PIN.findall(path.read_text())
    }


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_package_is_locked_at_its_pinned_version(name: str) -> None:
    wanted, locked = pins(ROOT / f"{name}.txt"), pins(ROOT / f"{name}.lock")
    assert wanted
    assert {package: locked.get(package) for package in wanted} == wanted, "make lock"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_package_of_a_lock_file_has_hashes(name: str) -> None:
    lock = (ROOT / f"{name}.lock").read_text()
    packages = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)
    assert not [
        package.split()[0]
        for package in packages
        if "==" in package and "--hash=sha256:" not in package
    ]
