"""The examples of deploy/, and the files that a server makes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from spectate.databases import PrivateFile, database_settings
from tests.servers import ROOT

URLS = ROOT / "runners/urls.py"


def test_others_cannot_read_a_new_database_file(tmp_path: Path) -> None:
    file = tmp_path / "spectate.sqlite3"
    options = database_settings(f"sqlite:///{file}")["OPTIONS"]
    assert options["factory"] is PrivateFile
    with closing(sqlite3.connect(file, factory=PrivateFile)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (c)")
        modes = {
            path.suffix: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()
        }
    assert modes == dict.fromkeys((".sqlite3", ".sqlite3-wal", ".sqlite3-shm"), 0o600)


def test_nginx_logs_no_request_line() -> None:
    # Its messages about requests quote the line, with tokens, at any level below this.
    config = (ROOT / "deploy/nginx/nginx.conf").read_text()
    http = config[config.index("http {") :]
    assert re.findall(r"error_log (.*);", http) == ["/var/log/nginx/error.log emerg"]
    formats = re.findall(r"log_format(.*?);", http, re.DOTALL)
    assert len(formats) == 1
    assert not re.search(r"\$(request|request_uri|uri|args|http_referer)\b", formats[0])


def test_nginx_logs_no_secret_of_an_address() -> None:
    config = (ROOT / "deploy/nginx/nginx.conf").read_text()
    masked = [re.compile(regex) for regex in re.findall(r"~(\^\S+) \S+;", config)]
    routes = [
        f"/{route}" for route in re.findall(r'path\(\s*"(.*?)"', URLS.read_text())
    ]
    secret = [route for route in routes if re.search("<str:(token|signed)>", route)]
    assert len(secret) > 5
    for route in secret:
        shown = re.sub("<.*?>", "x", route)
        assert any(pattern.match(shown) for pattern in masked), route


def test_the_service_has_few_rights() -> None:
    unit = (ROOT / "deploy/spectate.service").read_text()
    for line in (
        *("CapabilityBoundingSet=", "NoNewPrivileges=true", "UMask=0077"),
        *("ProtectSystem=strict", "SystemCallFilter=@system-service"),
    ):
        assert line in unit.splitlines()
