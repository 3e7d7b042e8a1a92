"""`doctor` reports problems for a race and their solutions."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings

from runners.management.checkup import machine, outside
from runners.management.checkup.problem import Problem
from runners.management.commands import doctor
from runners.models import Position, Runner, ShareLink
from tests.http_server import Handler, http_server
from tests.servers import Server, clean_environment, free_port, run
from tests.services import Redis
from tests.waiting import PATIENCE_S

# A second name of this machine, which does not count as an address of its own.
HOST = "127.0.0.2"


def examined(environment: dict[str, str]) -> tuple[int, dict[str, list[str]]]:
    """Run the command with settings; return its exit status and lines by subject."""
    done = run(["manage.py", "doctor"], clean_environment(**environment))
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, subject, text = line.split(maxsplit=2)
        found.setdefault(subject, []).append(f"{word} {text}")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, found


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[int], Path]:
    """Make a certificate for `HOST` that is valid for some days; return its file."""

    def make(days: int) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Spectate")])
        now = datetime.now(UTC)
        certificate_ = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days, minutes=5))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address(HOST))]
                ),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        path = tmp_path / f"{days}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate_.public_bytes(serialization.Encoding.PEM)
        )
        return path

    return make


@contextlib.contextmanager
def tls_proxy(
    port: int, to_port: int, certificate: Path, sends_proto: bool = True
) -> Iterator[None]:
    """Proxy `HOST` to a server with TLS, like nginx, one request per connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(1 << 16):
                    writer.write(data)
                    await writer.drain()
        except asyncio.CancelledError:
            # The proxy stops without waiting for either side.
            writer.transport.abort()
            raise
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(
            "127.0.0.1", to_port
        )
        try:
            server_writer.write(await reader.readline())
            if sends_proto:
                server_writer.write(b"X-Forwarded-Proto: https\r\n")
            await asyncio.gather(
                pump(reader, server_writer), pump(server_reader, writer)
            )
        finally:
            server_writer.transport.abort()

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with await asyncio.start_server(serve, HOST, port, ssl=context):
            started.set_result(partial(loop.call_soon_threadsafe, stopped.set))
            await stopped.wait()

    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    stop = started.result(PATIENCE_S)
    try:
        yield
    finally:
        stop()
        thread.join(PATIENCE_S)


@pytest.mark.django_db
def test_a_race_is_ready_except_for_the_reported_problems(
    certificate: Callable[[int], Path],
    shared_redis: Redis,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    settings.PUBLIC_URL = f"https://{HOST}:{port}"
    # DEBUG serves static files without collecting them.
    server = Server(
        DEBUG="1", PUBLIC_URL=settings.PUBLIC_URL, REDIS_URL=shared_redis.url
    )
    good, old = certificate(60), certificate(3)
    with server:
        with tls_proxy(port, server.port, good):
            status, found = examined({**server.env, "SSL_CERT_FILE": str(good)})
            report = {subject: " ".join(lines) for subject, lines in found.items()}
            assert status == 1
            assert report["settings"].startswith("PROBLEM DEBUG=1 at https://")
            assert report["database"].startswith("ok SQLite")
            assert report["layer"].startswith("ok Redis: an event came through in")
            assert report["certificate"].endswith("(60 days)")
            assert report["address"] == f"ok {settings.PUBLIC_URL} answers"
            assert report["phones"].startswith("ok a position sent by HTTP")
            # The runner that the check created is deleted with all its data.
            for model in (Runner, ShareLink, Position):
                assert server.database(model.objects.count) == 0

            refused = f"The certificate of {HOST} is refused: "
            assert problems(outside.check_certificate).startswith(refused)
            monkeypatch.setenv("SSL_CERT_FILE", str(good))
            # This process has a different database than the server.
            assert "Is this DATABASE_URL the server's?" in problems(
                outside.check_phones
            )
        monkeypatch.setenv("SSL_CERT_FILE", str(old))
        with tls_proxy(port, server.port, old, sends_proto=False):
            assert problems(outside.check_certificate).endswith(
                "in 3 days. Renew it (`certbot renew`) and reload the proxy."
            )
            assert "Configure the proxy to set `X-Forwarded-Proto`" in problems(
                outside.check_address
            )


# The responses of a misconfigured proxy, by path.
class Proxy(Handler):
    answers: dict[str, tuple[int, str, dict[str, str]]]

    def do_GET(self) -> None:
        status, body, headers = self.answers.get(self.path, (404, "", {}))
        self.reply(status, body.encode(), headers)


@pytest.fixture
def proxy(settings: Settings) -> Iterator[type[Proxy]]:
    class Ours(Proxy):
        answers = {"/healthz": (200, "ok\n", {}), "/readyz": (200, "", {})}

    with http_server(Ours, HOST) as port:
        settings.PUBLIC_URL = f"http://{HOST}:{port}"
        yield Ours


def problems(check: doctor.Check) -> str:
    """Return all problems in one line."""
    found = []
    try:
        for each in check():
            found += [str(each)] if isinstance(each, Problem) else []
    except Problem as problem:
        found.append(str(problem))
    return " ".join(found)


@pytest.mark.parametrize(
    ("path", "answer", "text"),
    [
        ("/healthz", (200, "It works!", {}), "is not Spectate (200). Is PUBLIC_URL"),
        ("/healthz", (400, "", {}), "refuses the name 127.0.0.2. Configure the"),
        ("/healthz", (502, "", {}), "does not reach the server (502). Is `manage.py"),
        (
            *("/healthz", (301, "", {"Location": "https://run.example/healthz"})),
            "redirects to https://run.example/healthz, which phones do not follow.",
        ),
        (
            "/readyz",
            (503, "{'database': 'away'}", {}),
            "accepts no clients: {'database'",
        ),
    ],
)
def test_mistakes_of_a_proxy_are_distinguished(
    proxy: type[Proxy], path: str, answer: tuple[int, str, dict[str, str]], text: str
) -> None:
    assert problems(outside.check_address) == ""
    proxy.answers[path] = answer
    assert text in problems(outside.check_address)


def test_an_address_without_a_reply_is_a_problem(settings: Settings) -> None:
    settings.PUBLIC_URL = f"http://{HOST}:{free_port()}"
    assert "Connection refused" in problems(outside.check_address)
    settings.PUBLIC_URL = "https://run.invalid"
    assert "run.invalid has no address" in problems(outside.check_certificate)
    settings.PUBLIC_URL = f"http://localhost:{free_port()}"
    assert "Phones cannot reach" in problems(outside.check_address)


@pytest.mark.django_db
def test_a_proxy_without_websockets_is_a_problem(proxy: type[Proxy]) -> None:
    assert "Configure the proxy to pass on `Upgrade`" in problems(outside.check_phones)


def test_the_map_style_is_checked(settings: Settings, proxy: type[Proxy]) -> None:
    path = "/style.json"
    settings.SPECTATE_MAP_STYLE = f"{settings.PUBLIC_URL}{path}"
    proxy.answers[path] = (200, '{"version": 8}', {})
    assert "is a map style" in str([*outside.check_browsers()])
    for status, body in ((200, "<html>"), (403, '{"version": 8}'), (200, "{}")):
        proxy.answers[path] = (status, body, {})
        assert f"{path} " in problems(outside.check_browsers)


def test_an_unserved_map_library_is_a_problem(
    proxy: type[Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "map_assets", lambda: {"library": "/map.mjs"})
    assert "collectstatic" in problems(outside.check_browsers)
    script = {"Content-Type": "text/javascript"}
    proxy.answers["/map.mjs"] = (200, "", script)
    assert problems(outside.check_browsers) == ""


def test_missing_map_files_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "map_assets", lambda: None)
    assert "Run `make setup`" in problems(machine.check_map)


def test_an_unsynchronised_clock_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = machine.Timex(status=machine.STA_UNSYNC, maxerror=16_000_000)
    monkeypatch.setattr(machine, "read_clock", lambda: clock)
    assert "chrony" in problems(machine.check_clock)
    clock.status, clock.maxerror = 0, 25_000
    (text,) = machine.check_clock()
    assert str(text).endswith("synchronized within 0.0 s")
    monkeypatch.setattr(machine, "read_clock", lambda: None)
    assert problems(machine.check_clock) == ""


def test_an_unavailable_redis_is_a_problem(settings: Settings) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    settings.REDIS_URL = url
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "runners.live.layer.RedisLayer",
            "CONFIG": {"hosts": [url], "prefix": "test."},
        }
    }
    assert "is REDIS_URL right?" in problems(machine.check_layer)


def test_a_database_without_tables_is_a_problem(tmp_path: Path) -> None:
    status, found = examined({"DATABASE_URL": f"sqlite:///{tmp_path / 'empty'}"})
    assert status == 1
    assert found["database"][0].endswith("Run `manage.py migrate`.")


def test_the_exit_status_depends_on_problems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fine() -> Iterator[str | Problem]:
        yield "all is well"

    def broken() -> Iterator[str | Problem]:
        raise Problem("It is broken.", "Mend it.")

    def unavailable() -> Iterator[str | Problem]:
        yield "it was there"
        raise OperationalError("no\nroute to host.")

    def examined(**checks: doctor.Check) -> str:
        monkeypatch.setattr(doctor, "OUTSIDE", checks)
        call_command("doctor", stdout=(out := StringIO()), no_color=True)
        return out.getvalue()

    monkeypatch.setattr(doctor, "MACHINE", {"clock": fine})
    report = examined(phones=fine)
    assert report.endswith("ok       phones       all is well\nEverything is ready.\n")
    with pytest.raises(CommandError, match="1 problem found"):
        examined(address=broken, phones=broken)
    monkeypatch.setattr(doctor, "MACHINE", {"database": unavailable})
    with pytest.raises(CommandError, match="2 problems found"):
        examined(address=broken, phones=broken)
