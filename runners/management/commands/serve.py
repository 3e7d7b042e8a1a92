from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from uvicorn.config import Config

from runners.serving.drain import DrainingServer
from runners.serving.metrics import join_noticeboard
from runners.serving.process import current
from runners.serving.supervisor import Supervisor, Worker

# The server's limit is greater by this, so that the application reports the error.
FRAME_MARGIN_BYTES = 2048
# Requests that run this long after all sockets are closed are aborted.
STOP_TIMEOUT_S = 2
# The workers of a killed server need this long to notice it and release the port.
PORT_TIMEOUT_S = 2
BACKLOG = 2048  # The kernel uses less if net.core.somaxconn is lower.

PR_SET_PDEATHSIG = 1  # The constant of linux/prctl.h.


class Command(BaseCommand):
    help = "Serve pages and websockets in production: uvicorn, WORKERS processes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--worker", type=int, help="how we start our workers")
        parser.add_argument("--listener", type=int, help="the descriptor of the port")
        parser.add_argument("--ready", type=int, help="the descriptor to write to")
        parser.add_argument("--folder", type=Path, help="where workers share numbers")

    def handle(self, *args: Any, **options: Any) -> None:
        raise_descriptor_limit()
        if options["worker"] is not None:
            end_with_parent(signal.SIGTERM)
            if options["worker"]:
                # The first worker subscribes for all: a broker has one session per
                # client.
                settings.SPECTATE_MQTT_URL = ""
            listener = socket.socket(fileno=options["listener"])

            def on_started() -> None:
                join_noticeboard(current(), options["folder"], options["worker"])
                report_ready(options["ready"])

            parent = os.getppid()

            def on_stopped() -> None:
                if os.getppid() != parent:
                    # The parent was killed and has not deleted its folder.
                    shutil.rmtree(options["folder"], ignore_errors=True)

            serve(listener, options["verbosity"], on_started, on_stopped)
            return
        listener = listen(settings.PORT)
        self.stderr.write(
            f"Spectate answers at {settings.PUBLIC_URL}/ (port {settings.PORT}, "
            f"{settings.WORKERS} process{'es' if settings.WORKERS > 1 else ''})."
        )
        if settings.WORKERS == 1:
            serve(listener, options["verbosity"])
            return

        with tempfile.TemporaryDirectory(prefix="spectate-workers-") as folder:
            sys.exit(self.supervise(listener, folder, options["verbosity"]))

    def supervise(self, listener: socket.socket, folder: str, verbosity: int) -> int:
        """Serve with several workers until a signal; return the exit status."""

        def start(number: int) -> Worker:
            # Each worker is a new program, so that a restart loads new code.
            return Worker(
                lambda ready: [
                    *(sys.executable, sys.argv[0], "serve", "--skip-checks"),
                    *("--verbosity", str(verbosity)),
                    *("--worker", str(number), "--listener", str(listener.fileno())),
                    *("--ready", str(ready), "--folder", folder),
                ],
                listener.fileno(),
            )

        return Supervisor(start, settings.WORKERS).run()


def serve(
    listener: socket.socket,
    verbosity: int,
    on_started: Callable[[], None] | None = None,
    on_stopped: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal; a worker of several gets an `on_started`."""
    config = ServerConfig(
        # Uvicorn's notation: module:attribute.
        app=":".join(settings.ASGI_APPLICATION.rsplit(".", 1)),
        loop="uvloop",
        http="runners.serving.http:BoundedHttp",
        ws="runners.live.server:FrameProtocol",
        ws_max_size=settings.SPECTATE_FRAME_LIMIT + FRAME_MARGIN_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=60,
        # Compression costs 50 KiB per socket, and frames are small.
        ws_per_message_deflate=False,
        proxy_headers=bool(trusted := getattr(settings, "TRUSTED_PROXIES", [])),
        forwarded_allow_ips=trusted,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        log_config=None,  # Django's own variables.
        log_level="info" if verbosity else "warning",
    )
    server = DrainingServer(
        config,
        shares_port=on_started is not None,
        on_started=on_started or (lambda: None),
        on_stopped=on_stopped,
    )
    # Uvicorn has shut down and raises the signal again for its parent.
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


def report_ready(descriptor: int) -> None:
    os.write(descriptor, b"1")
    os.close(descriptor)


class ServerConfig(Config):
    def load(self) -> None:
        super().load()
        logging.getLogger("uvicorn.error").addFilter(is_worth_a_line)
        # Whitenoise's files are small enough to be read completely.
        warnings.filterwarnings("ignore", "StreamingHttpResponse must consume sync")


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Drop two log lines per socket that do not name the client."""
    if str(record.msg).startswith("Invalid UTF-8"):
        record.exc_info = None  # The client's error, not the server's.
    return record.msg not in {"connection open", "connection closed"}


def end_with_parent(signum: int) -> None:
    """Make the kernel send this signal when the parent ends (Linux).

    An orphaned worker would not be restarted, and would keep the port from the next
    server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)


def raise_descriptor_limit() -> None:
    """Raise the limit of open files to the greatest that is allowed."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(port: int) -> socket.socket:
    """Open the port on every address; raise CommandError if it is in use."""
    listener = socket.socket()
    # Otherwise the port is unusable for a minute after a kill with open connections.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + PORT_TIMEOUT_S
    while True:
        try:
            listener.bind(("", port))
            # Listen in this process and not in a worker, because only a listening port
            # excludes others.
            listener.listen(BACKLOG)
            return listener
        except PermissionError:
            raise CommandError(
                f"Only root may open port {port}. Set PORT to a number above 1023."
            ) from None
        except OSError as error:
            if time.monotonic() > deadline:
                raise CommandError(
                    f"Port {port} cannot be opened ({error.strerror}). Stop the "
                    f"program that uses it, or set a different port: PORT={port + 1}."
                ) from None
            time.sleep(0.05)
