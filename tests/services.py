"""Debian's programs that tests need, each private to a test session."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Self

import psycopg
import pytest

from tests.made_once import made_once, new_folder, shared_folder
from tests.processes import Leashed
from tests.servers import copy_database, free_port, migrate
from tests.waiting import PATIENCE_S, wait_until

DEPLOY = Path(__file__).resolve().parent.parent / "deploy/mosquitto"
NGINX_FILES = DEPLOY.parent / "nginx"
MOSQUITTO = ("Mosquitto", "apt-get install mosquitto")

# Flags for Debian's Chromium in a container without a graphics card: only the map is
# drawn, by software.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
]


def unavailable(what: str, install: str) -> NoReturn:
    """Skip a test whose program is not installed; in CI, fail it.

    `install` is the command that installs it. conftest.py prints the reason once for
    all tests that are skipped for it.
    """
    reason = f"{what} is not installed: {install}"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def chromium_path(*, notifies: bool = False) -> str:
    """Return the path of Debian's Chromium.

    The headless shell takes half the CPU, but cannot show notifications.
    """
    shell = None if notifies else shutil.which("chromium-headless-shell")
    return (
        shell
        or shutil.which("chromium")
        or unavailable("Chromium", "apt-get install chromium fonts-dejavu-core")
    )


class Service:
    """A program that listens on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = new_folder("service")
        self._process: Leashed[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Prepare the first start."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def start(self) -> None:
        """Start or restart the program and wait until it accepts connections."""
        log_path = self.folder / "log"
        with log_path.open("ab") as log:
            process = self._process = Leashed(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
            )
        wait_until(lambda: self.is_up() or process.poll() is not None)
        if process.poll() is not None:
            output = log_path.read_text()
            raise RuntimeError(f"{self.command()[0]} did not start:\n{output}")

    user: str | None = None

    def stop(self) -> None:
        """Shut the program down. Its data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE_S)
        self._process.kill_all()
        self._process = None

    def close(self) -> None:
        """Kill the program and remove its files."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Service):
    """A private Redis that stores nothing on disk."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        program = shutil.which("redis-server") or unavailable(
            "Redis", "apt-get install redis-server"
        )
        return [
            *(program, "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--save", "", "--appendonly", "no"),
        ]


class Mosquitto(Service):
    """A private MQTT broker, configured as docs/mqtt.md says but without TLS.

    It has the accounts of deploy/mosquitto/acl: `spectate` and `phones`.
    """

    password = "secret"

    @property
    def url(self) -> str:
        """The URL that the server under test gets."""
        return f"mqtt://spectate:{self.password}@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        program = shutil.which("mosquitto_passwd") or unavailable(*MOSQUITTO)
        accounts = self.folder / "accounts"
        accounts.touch(0o600)
        for name in ("spectate", "phones"):
            subprocess.run(
                [program, "-b", str(accounts), name, self.password], check=True
            )
        shutil.copy(DEPLOY / "acl", self.folder)
        (self.folder / "acl").chmod(0o600)
        lines = []
        for line in (DEPLOY / "mosquitto.conf").read_text().splitlines():
            name, _, value = line.partition(" ")
            match name:
                case "listener":
                    lines.append(f"listener {self.port} 127.0.0.1")
                case "certfile" | "keyfile" | "log_dest":
                    continue
                case "persistence_location":
                    lines.append(f"{name} {self.folder}/")
                case "acl_file" | "password_file":
                    lines.append(f"{name} {self.folder / Path(value).name}")
                case _:
                    lines.append(line)
        if not os.geteuid():
            # Its own user could not read the folder.
            lines.append("user root")
        (self.folder / "mosquitto.conf").write_text("\n".join(lines))

    def command(self) -> list[str]:
        # Debian's is in a folder that only root searches.
        path = f"{os.environ['PATH']}:/usr/sbin"
        program = shutil.which("mosquitto", path=path) or unavailable(*MOSQUITTO)
        return [program, "-c", str(self.folder / "mosquitto.conf")]


class Nginx(Service):
    """A private nginx with deploy/nginx/nginx.conf, in front of a server.

    `port` is the one of TLS, with a certificate that nobody has signed.
    """

    def __init__(self, upstream: int) -> None:
        super().__init__()
        self.plain_port, self._upstream = free_port(), upstream

    def prepare(self) -> None:
        for name in ("conf.d", "tls", "logs"):
            (self.folder / name).mkdir()
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-subj", "/CN=localhost", "-days", "2"),
                *("-keyout", self.folder / "tls/privkey.pem"),
                *("-out", self.folder / "tls/fullchain.pem"),
            ],
            check=True,
            capture_output=True,
        )
        upstream = (NGINX_FILES / "upstream.conf").read_text()
        (self.folder / "conf.d/spectate.conf").write_text(
            upstream.replace(":8080", f":{self._upstream}")
        )
        config = (NGINX_FILES / "nginx.conf").read_text()
        for pattern, replacement in (
            # An unprivileged user, and a port and descriptors that tests may have.
            (r"worker_processes auto;", "worker_processes 1; daemon off;"),
            (r"worker_rlimit_nofile .*;", ""),
            (r"worker_connections .*;", "worker_connections 512;"),
            (r"listen \[::\].*;", ""),
            (r"listen 80 ", f"listen 127.0.0.1:{self.plain_port} "),
            (r"listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (r"/run/nginx.pid", f"{self.folder}/pid"),
            (r"/var/log/nginx/", f"{self.folder}/logs/"),
            (r"include mime.types", "include /etc/nginx/mime.types"),
        ):
            config, count = re.subn(pattern, replacement, config)
            assert count, pattern
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            path = f"{what}_temp_path {self.folder}/{what};"
            config = config.replace("http {", f"http {{ {path}", 1)
        if not os.geteuid():
            # Its own user could not read the folder.
            config = f"user root;\n{config}"
        (self.folder / "nginx.conf").write_text(config)

    def command(self) -> list[str]:
        path = f"{os.environ['PATH']}:/usr/sbin"
        program = shutil.which("nginx", path=path) or unavailable(
            "nginx", "apt-get install nginx-light"
        )
        error_log = str(self.folder / "logs/early.log")
        return [
            *(program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")),
            *("-e", error_log),
        ]

    @property
    def logs(self) -> str:
        """All that it has logged."""
        files = sorted((self.folder / "logs").iterdir())
        return "".join(file.read_text() for file in files)


class Postgres(Service):
    """A private PostgreSQL cluster; root starts it as a user, as it refuses root."""

    user = "postgres" if os.geteuid() == 0 else None
    # Programs are killed here and machines are not: -F writes nothing to disk.
    options: Sequence[str] = ("-F",)

    @staticmethod
    def program(name: str) -> str:
        found = sorted(
            Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
            key=lambda path: int(path.parts[-3]),
        )
        if not found:
            unavailable("PostgreSQL", "apt-get install postgresql")
        return str(found[-1])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        self._admit_user()
        cluster = made_once("cluster", make_cluster)
        subprocess.run(["cp", "-a", str(cluster), str(self.data)], check=True)

    def _admit_user(self) -> None:
        if self.user:
            shared_folder().chmod(0o711)
            shutil.chown(self.folder, self.user)

    def kill(self) -> None:
        """Shut it down without a checkpoint, and wait for all its processes.

        Each has a separate process group. Those of a killed parent would end later, and
        write files until then.
        """
        self._end(signal.SIGQUIT)

    def command(self) -> list[str]:
        return [
            *(self.program("postgres"), *self.options, "-D", str(self.data)),
            *("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)),
        ]

    def is_up(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.database_url("postgres")).close()
            return True
        return False

    def database_url(self, name: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """Create a migrated database without rows; return its URL."""
        template = self.database_url("template")
        return copy_database(template, f"spectate_{uuid.uuid4().hex}")


class EmptyPostgres(Postgres):
    """A cluster without the database `template`."""

    def prepare(self) -> None:
        initdb = self.program("initdb")
        self._admit_user()
        subprocess.run(
            [initdb, "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N"],
            cwd=self.folder,
            user=self.user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def make_cluster(data: Path) -> None:
    """Make the files of a cluster whose database `template` is migrated."""
    with EmptyPostgres() as cluster:
        migrate(copy_database(cluster.database_url("template1"), "template"))
        cluster.stop()
        shutil.move(cluster.data, data)


@functools.cache
def shared_postgres() -> Postgres:
    """Start one cluster for all tests of this process; it ends with the process."""
    cluster = Postgres()
    atexit.register(cluster.close)
    return cluster.__enter__()
