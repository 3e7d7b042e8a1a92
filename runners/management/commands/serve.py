from __future__ import annotations

import ctypes
import logging
import resource
import signal
import socket
import sys
import time
import warnings
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn.supervisors import Multiprocess

# Lets our own check of the frame limit answer before the server's. Bytes.
FRAME_MARGIN = 2048
# What is still open this long after a request to stop is cut.
STOP_SECONDS = 5
# The workers of a killed server need this long to notice and to let the port go.
PORT_SECONDS = 2
BACKLOG = 2048  # the kernel takes less where net.core.somaxconn is lower

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Command(BaseCommand):
    help = "Serve pages and websockets in production: uvicorn, WORKERS processes."

    def handle(self, *args: Any, **options: Any) -> None:
        raise_descriptor_limit()
        config = ServerConfig(
            # As uvicorn writes it: module:attribute.
            app=":".join(settings.ASGI_APPLICATION.rsplit(".", 1)),
            workers=settings.WORKERS,
            loop="uvloop",
            http="httptools",
            ws="runners.live.server:FrameProtocol",
            ws_max_size=settings.SPECTATE_FRAME_LIMIT + FRAME_MARGIN,
            ws_ping_interval=20,
            ws_ping_timeout=60,
            # It costs 50 KiB a socket, and frames are small.
            ws_per_message_deflate=False,
            proxy_headers=bool(trusted := getattr(settings, "TRUSTED_PROXIES", [])),
            forwarded_allow_ips=trusted,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=STOP_SECONDS,
            log_config=None,  # Django's
            log_level="info" if options["verbosity"] else "warning",
        )
        sockets = [listen(settings.PORT)]
        self.stderr.write(
            f"Spectate answers at {settings.PUBLIC_URL}/ (port {settings.PORT}, "
            f"{settings.WORKERS} process{'es' if settings.WORKERS > 1 else ''})."
        )
        try:
            if settings.WORKERS > 1:
                Multiprocess(config, sockets).run()
            else:
                Server(config).run(sockets)
        except KeyboardInterrupt:
            pass  # Uvicorn has stopped in order and raises it again for its parent.


class ServerConfig(Config):
    def load(self) -> None:
        if self.workers > 1:
            # We are a worker. If the parent is killed, stop too: nobody would start
            # us again, and the next server could not have the port.
            end_with_parent(signal.SIGTERM)
        super().load()
        logging.getLogger("uvicorn.error").addFilter(is_worth_a_line)
        # Of Whitenoise's files, which are small enough to be read whole.
        warnings.filterwarnings("ignore", "StreamingHttpResponse must consume sync")


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Drop the two lines a socket that do not even say whose it is."""
    if str(record.msg).startswith("Invalid UTF-8"):
        record.exc_info = None  # The client's fault, not ours.
    return record.msg not in {"connection open", "connection closed"}


def end_with_parent(signum: int) -> None:
    """Have the kernel send us this signal when our parent ends, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)


def raise_descriptor_limit() -> None:
    """Allow as many open sockets as the system lets us."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(port: int) -> socket.socket:
    """Open the port on every address; refuse in one line if somebody else has it."""
    listener = socket.socket()
    # Else the port stays taken for a minute after a kill with open connections.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            listener.bind(("", port))
            # Here, not in a worker: only a port that listens is refused to others.
            listener.listen(BACKLOG)
            return listener
        except PermissionError:
            raise CommandError(
                f"Port {port} is for root only. Set PORT to one above 1023."
            ) from None
        except OSError as error:
            if time.monotonic() > deadline:
                raise CommandError(
                    f"Port {port} cannot be opened ({error.strerror}). Stop what "
                    f"listens there or set another: PORT={port + 1}."
                ) from None
            time.sleep(0.05)
