from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.management.errors import database_needed
from runners.management.options import address
from runners.models import Passing, Race
from runners.timing import mylaps, raceresult
from runners.timing.recorder import Recorder


class Command(BaseCommand):
    help = (
        "Receive the passings of timing mats for a race and turn them into splits. "
        "Runs until Ctrl-C; start one per kind of decoder. docs/timing.md says what "
        "to set on the timer's side."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        kinds = parser.add_subparsers(dest="kind", required=True)
        add: Callable[..., CommandParser] = kinds.add_parser
        listener = add(
            "mylaps",
            help="wait for MYLAPS Timing & Scoring to connect",
            description="Wait for MYLAPS Timing & Scoring. There, add a TCP exporter, "
            "protocol version 2, with the address of this machine and this port. "
            "The names of its locations are those of the race's stations.",
        )
        listener.add_argument("--race", required=True, metavar="SLUG")
        listener.add_argument(
            "--listen",
            type=address,
            default=("127.0.0.1", mylaps.PORT),
            metavar="HOST:PORT",
            help="0.0.0.0:3097 for connections of other machines; "
            "default: 127.0.0.1:3097",
        )

        client = add(
            "raceresult",
            help="read a RACE RESULT decoder",
            description="Read the passings of a RACE RESULT decoder, and no more: "
            "it has to be in timing mode. Its clock has to show the local time of the "
            "race, by GPS if possible. The box's name is that of the race's station.",
        )
        client.add_argument("--race", required=True, metavar="SLUG")
        client.add_argument(
            "--connect",
            required=True,
            type=address,
            metavar="HOST:PORT",
            help=f"the decoder's address; its port is {raceresult.PORT}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        recorder = _recorder(options["race"], Passing.Source(options["kind"]))
        with contextlib.suppress(KeyboardInterrupt):
            if options["kind"] == "mylaps":
                asyncio.run(self._listen(recorder, *options["listen"]))
            else:
                asyncio.run(raceresult.read_decoder(recorder, *options["connect"]))

    async def _listen(self, recorder: Recorder, host: str, port: int) -> None:
        try:
            server = await asyncio.start_server(
                partial(mylaps.serve, recorder),
                host,
                port,
            )
        except OSError as error:
            raise CommandError(
                f"Cannot listen at {host}:{port}: {error.strerror or error}. Is it in "
                "use, or not an address of this machine?"
            ) from error
        port = server.sockets[0].getsockname()[1]
        self.stdout.write(f"Waiting for Timing & Scoring at {host}:{port}.")
        async with server:
            await server.serve_forever()


def _recorder(slug: str, source: Passing.Source) -> Recorder:
    with database_needed():
        race = Race.objects.defer("line").filter(slug=slug).first()
        if race is None:
            raise CommandError(f"There is no race {slug}.")
        if not race.checkpoints.exists():
            raise CommandError(
                f"{race.name} has no checkpoints. Add them in the admin first."
            )
    return Recorder(race.pk, ZoneInfo(race.timezone), source)
