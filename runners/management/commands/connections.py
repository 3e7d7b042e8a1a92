from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from runners.live.close_codes import OVERLOADED, RECONNECT
from runners.models import ShareLink
from runners.serving.drain import RECONNECTS_PER_S
from runners.serving.operator_socket import Answer, SocketFacts, doors_folder
from runners.units.clock import moment_of

# How long a process may take to reply.
PATIENCE_S = 10.0
CLOSE_CODES = {"restart": RECONNECT, "overloaded": OVERLOADED}
ROW = "{:>8}  {:19}  {:15}  {:7}  {:24}  {:28}  {}"


class Command(BaseCommand):
    help = (
        "List the websockets of all processes that serve PORT on this "
        "machine, or close them in stages. Sockets that connect meanwhile "
        "stay open."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--close",
            choices=CLOSE_CODES,
            metavar="REASON",
            help="restart (1012: clients reconnect within seconds) or overloaded "
            "(1013: they back off)",
        )
        parser.add_argument(
            "--rate",
            type=float,
            default=RECONNECTS_PER_S,
            help="sockets closed per second, of all processes together; "
            "default: %(default)s",
        )
        parser.add_argument("--process", type=int, help="only sockets of this process")

    def handle(
        self, *, close: str | None, rate: float, process: int | None, **options: Any
    ) -> None:
        if rate <= 0:
            raise CommandError("--rate must be more than 0.")
        found = {}
        with doors_of(settings.PORT) as doors:
            for pid, door in doors.items():
                if process in (None, pid):
                    send_request(door, {"ask": "list"})
                    found[pid] = answer_of(door).get("sockets", [])
        if not found:
            raise CommandError(no_door(process))
        count = sum(map(len, found.values()))
        of = f"of {len(found)} process{'es' if len(found) > 1 else ''}"
        if close is None:
            self.show(found)
            behind = sum(each["behind"] for facts in found.values() for each in facts)
            self.stdout.write(f"{count:,} sockets {of}, {behind:,} behind.")
        elif count:
            closed = self.close(found, rate / count, CLOSE_CODES[close])
            self.stdout.write(f"{closed:,} sockets {of} were closed.")
        else:
            self.stdout.write(f"No sockets {of}: nothing to close.")

    def show(self, found: dict[int, list[SocketFacts]]) -> None:
        """Print a line for each socket, the oldest of each process first."""
        everything = [each for facts in found.values() for each in facts]
        names = Names(everything)
        if everything:
            columns = ("SINCE (UTC)", "FROM", "DIALECT", "WHO", "FOLLOWS", "WAITING")
            self.stdout.write(ROW.format("PROCESS", *columns))
        for pid, facts in found.items():
            for each in sorted(facts, key=lambda each: each["since"]):
                since = moment_of(each["since"])
                waiting = f"{each['waiting']}{' behind' if each['behind'] else ''}"
                self.stdout.write(
                    ROW.format(
                        *(pid, f"{since:%Y-%m-%d %H:%M:%S}", each["address"]),
                        *(each["dialect"], names.of(each), follows(each), waiting),
                    )
                )

    def close(
        self, found: dict[int, list[SocketFacts]], share: float, code: int
    ) -> int:
        """Have each process close its sockets, at an equal share of the rate."""
        closed = 0
        with doors_of(settings.PORT) as doors:
            pids = [pid for pid in doors if found.get(pid)]
            for pid in pids:
                rate = len(found[pid]) * share
                send_request(doors[pid], {"ask": "close", "rate": rate, "code": code})
                doors[pid].settimeout(None)
            # Ctrl-C disconnects, which stops the processes.
            for pid in pids:
                closed += answer_of(doors[pid]).get("closed", 0)
        return closed


@contextlib.contextmanager
def doors_of(port: int) -> Iterator[dict[int, socket.socket]]:
    """Connect to the processes that serve a port; return their sockets by pid."""
    doors = {}
    with contextlib.ExitStack() as stack:
        for path in sorted(doors_folder().glob(f"{port}-*"), key=pid_of):
            door = stack.enter_context(socket.socket(socket.AF_UNIX))
            door.settimeout(PATIENCE_S)
            try:
                door.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                continue  # The socket of a process that was killed or has just ended.
            except OSError as error:
                raise CommandError(
                    f"Process {pid_of(path)} cannot be queried: {error.strerror}. Run "
                    "this as the user who runs the server."
                ) from error
            doors[pid_of(path)] = door
        yield doors


def pid_of(path: Path) -> int:
    return int(path.name.partition("-")[2])


def no_door(process: int | None) -> str:
    subject = "No process" if process is None else f"No process {process}"
    return (
        f"{subject} serves port {settings.PORT} from this folder. Set PORT, and run "
        "this as the user and in the folder of the server; only `manage.py "
        "serve` and uvicorn can be queried."
    )


def send_request(door: socket.socket, request: dict[str, Any]) -> None:
    door.sendall(orjson.dumps(request) + b"\n")


def answer_of(door: socket.socket) -> Answer:
    """Read a process's reply; a process that ends in the meantime has no sockets."""
    received = b""
    try:
        while chunk := door.recv(1 << 16):
            received += chunk
    except TimeoutError:
        raise CommandError(
            f"A process has not answered for {PATIENCE_S:.0f} s."
        ) from None
    except ConnectionError:
        return {"process": 0}
    return orjson.loads(received) if received else {"process": 0}


def follows(facts: SocketFacts) -> str:
    """Return what a socket follows: topics by name, and the number of runners."""
    runners = facts["runners"]
    named = [f"{runners} runner{'s' if runners > 1 else ''}"] if runners else []
    return ", ".join(facts["topics"] + named) or "nobody"


class Names:
    """The names of users and share links, if the database is available."""

    def __init__(self, facts: Iterable[SocketFacts]) -> None:
        facts = list(facts)
        self.users: dict[int, str] = {}
        self.links: dict[int, str] = {}
        with contextlib.suppress(DatabaseError):
            users = {each["user"] for each in facts if each["user"] is not None}
            self.users = {
                user.pk: user.get_username()
                for user in get_user_model().objects.in_bulk(users).values()
            }
            links = {pk for each in facts for pk in each["links"]}
            self.links = {
                link.pk: link.label
                for link in ShareLink.objects.in_bulk(links).values()
            }

    def of(self, facts: SocketFacts) -> str:
        """Return the users of a socket: its runner, user and links, or "nobody"."""
        subject = []
        if facts["runner"] is not None:
            subject.append(f"runner {facts['runner']}")
        if (user := facts["user"]) is not None:
            subject.append(f"user {self.users.get(user, user)}")
        subject += [f"link {self.links.get(pk, pk)}" for pk in facts["links"]]
        return ", ".join(subject) or "nobody"
