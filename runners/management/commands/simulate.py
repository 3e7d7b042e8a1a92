from __future__ import annotations

import asyncio
import math
import signal
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from runners.management.errors import database_needed
from runners.management.options import address, read_file
from runners.models import Race
from runners.races.arrival.results import ResultsError, read_results
from runners.races.course import Course
from runners.simulation.client import Tally
from runners.simulation.field import Starter, field_create, field_dismiss
from runners.simulation.mats import (
    MatError,
    plan_of,
    play_mylaps,
    play_raceresult,
)
from runners.simulation.motion import FASTEST_M_PER_S
from runners.simulation.race import run_field
from runners.simulation.seed import SeedError, SeedReport, run_seed
from runners.timing import mylaps, raceresult

MOST_RUNNERS = 10_000
# How to play results, and the usual port, by timing system.
PLAYERS = {
    "mylaps": (play_mylaps, mylaps.PORT),
    "raceresult": (play_raceresult, raceresult.PORT),
}
# No race refuses this factor.
ALWAYS_ALLOWED = 2.0
# The greatest factor of a runner's own speed.
SPURT = 1.25


class Command(BaseCommand):
    help = (
        "Simulate runners on a race's course, with one websocket client "
        "each, whose token is revoked at the end. Ctrl-C stops it. With "
        "--seed: send like the client of 2015 to a server in open mode, and "
        "report whether every position arrived. With --results: play the "
        "splits of a past race like a timing system, and report whether all "
        "are stored."
    )
    # These need no secret, map library or host.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url", type=_websocket_url, help="ws://HOST/ws/; not with --results"
        )
        parser.add_argument("--race", metavar="SLUG")
        parser.add_argument(
            "--runners", type=_integer(1, MOST_RUNNERS), default=30, metavar="N"
        )
        parser.add_argument(
            "--speed",
            type=_positive,
            default=1.0,
            metavar="X",
            help="multiple of real time",
        )
        parser.add_argument(
            "--laps", type=_integer(0, 1000), default=0, metavar="N", help="0: for ever"
        )
        parser.add_argument("--duration", type=_positive, metavar="SECONDS")
        parser.add_argument(
            "--incidents",
            action="store_true",
            help="one phone is often late, and one runner leaves the course",
        )
        parser.add_argument("--seed", action="store_true")
        parser.add_argument(
            "--users", type=_integer(1, 5000), default=100, help="with --seed"
        )
        parser.add_argument(
            "--messages", type=_integer(1, 10**6), default=1000, help="with --seed"
        )
        parser.add_argument(
            "--results",
            metavar="FILE.csv",
            help="a header with metres, and per runner the times since their start",
        )
        parser.add_argument(
            "--via",
            choices=tuple(PLAYERS),
            default="mylaps",
            help="with --results: connect to `timing mylaps` like Timing & Scoring, or "
            "be the decoder of `timing raceresult`",
        )
        parser.add_argument(
            "--address",
            type=address,
            metavar="HOST:PORT",
            help="with --results: where to connect or to listen; default: the usual "
            "port of this machine",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["results"] and options["race"]:
            self._results(options)
        elif options["url"] is None:
            raise CommandError("Name the server with --url ws://HOST/ws/.")
        elif options["seed"]:
            self._seed(options)
        elif options["race"]:
            self._race(options)
        else:
            raise CommandError("Choose a race with --race SLUG, or use --seed.")

    def _results(self, options: dict[str, Any]) -> None:
        speed = options["speed"]
        play, port = PLAYERS[options["via"]]
        try:
            results = read_results(read_file(options["results"]))
            with database_needed():
                plan = plan_of(_race_of(options["race"]), results)
        except (ResultsError, MatError) as error:
            raise CommandError(str(error)) from error
        host, port = options["address"] or ("127.0.0.1", port)
        self.stdout.write(
            f"Playing {len(plan.passings):,} passings, {len(results.times):,} runners."
        )
        try:
            connects = asyncio.run(play(plan, host, port, speed))
        except KeyboardInterrupt:
            raise CommandError("Stopped before the end.") from None
        wrong, splits = plan.wrong(), len(plan.splits)
        self.stdout.write(
            f"{splits - wrong:,} of {splits:,} splits are stored exactly, after "
            f"{connects} connections."
        )
        if wrong:
            raise CommandError(f"{wrong:,} splits are missing or differ.")

    def _race(self, options: dict[str, Any]) -> None:
        with database_needed():
            race = _race_of(options["race"])
        if len(race.line) < 2:
            raise CommandError(
                f"The race {race.slug!r} has no course. Upload one in the admin."
            )
        began = time.monotonic()
        check_speed(race, options["speed"])
        with _field(race, options["runners"]) as field:
            tally, waiting = asyncio.run(
                run_field(
                    Course(race.line),
                    field,
                    url=options["url"],
                    factor=options["speed"],
                    laps=options["laps"],
                    duration=options["duration"],
                    incidents=options["incidents"],
                    out=self.stdout,  # type: ignore[arg-type]
                )
            )
        self._close_race(tally, waiting, len(field), time.monotonic() - began)

    def _close_race(
        self, tally: Tally, waiting: int, runners: int, seconds: float
    ) -> None:
        if tally.turned_away == runners:
            raise CommandError(
                f"The server refused all {runners} runners ({tally.problem}). Does "
                "it use the same database (DATABASE_URL)?"
            )
        if not tally.connects:
            raise CommandError(f"No runner could connect: {tally.problem}.")
        refused = "".join(
            f", {count:,} refused ({code})" for code, count in tally.refused.items()
        )
        self.stdout.write(
            f"{runners} runners ran for {_clock(seconds)}: {tally.acked:,} fixes stored"
            f"{refused}, {waiting:,} not acked, {tally.reconnects:,} reconnects. "
            "Their tokens are revoked."
        )

    def _seed(self, options: dict[str, Any]) -> None:
        try:
            report = asyncio.run(
                run_seed(
                    url=options["url"],
                    users=options["users"],
                    messages=options["messages"],
                    out=self.stdout,  # type: ignore[arg-type]
                    random=Random(),
                )
            )
        except SeedError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped before the end.") from None
        self._close_seed(report)

    def _close_seed(self, report: SeedReport) -> None:
        should, got = sum(report.should.values()), sum(report.got.values())
        self.stdout.write(
            f"{len(report.should)} users sent {report.sent:,} positions, "
            f"{report.invalid:,} of them nowhere on earth; {report.errors:,} errors "
            f"came back."
        )
        least, most = min(report.should.values()), max(report.should.values())
        self.stdout.write(
            f"Each follower should have got {least:,} to {most:,} positions; all "
            f"together {should:,}, and they got {got:,} in {report.seconds:.1f} s "
            f"({got / max(report.seconds, 0.001):,.0f} per second)."
        )
        for user, count in list(report.missing.items())[:20]:
            self.stdout.write(
                f"User {user} got {report.got[user]:,} of {report.should[user]:,}: "
                f"{count:,} missing."
            )
        for closed in report.closed[:5]:
            self.stdout.write(f"Closed by the server: {closed}.")
        if report.last_error and report.errors != report.invalid:
            self.stdout.write(f"The last error was {report.last_error}.")
        if report.complete:
            self.stdout.write("Every follower received every valid position.")
            return
        raise CommandError(
            f"{len(report.missing)} followers miss {should - got:,} positions; "
            f"{report.foreign:,} came that should not have, {report.surplus:,} twice."
        )


def _race_of(slug: str) -> Race:
    race = Race.objects.filter(slug=slug).first()
    if race is None:
        slugs = ", ".join(Race.objects.values_list("slug", flat=True)[:20])
        raise CommandError(f"There is no race {slug!r}. There are: {slugs or 'none'}.")
    return race


def check_speed(race: Race, factor: float) -> None:
    """Raise CommandError if the race would refuse fixes of such a fast field."""
    allowed = max(ALWAYS_ALLOWED, race.top_speed / (FASTEST_M_PER_S * SPURT))
    if factor > allowed:
        raise CommandError(
            f"--speed {factor:g} makes runners faster than the race's plausible top "
            f"speed, {race.top_speed:g} m/s: their positions would be held. Use at "
            f"most {math.floor(10 * allowed) / 10:g}, or raise the top speed in the "
            "admin."
        )


@contextmanager
def _field(race: Race, size: int) -> Iterator[list[Starter]]:
    """Enter a field and issue its tokens; revoke them at the end of the block."""
    # From here on SIGTERM acts like Ctrl-C, so that the tokens are revoked.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    field: list[Starter] = []
    try:
        with database_needed():
            field = field_create(race=race, size=size)
            connections.close_all()
        yield field
    except KeyboardInterrupt:
        raise CommandError("Stopped before the runners were under way.") from None
    finally:
        impatience = [
            (number, signal.signal(number, signal.SIG_IGN))
            for number in (signal.SIGINT, signal.SIGTERM)
        ]
        field_dismiss([starter.token for starter in field])
        for number, handler in [*impatience, (signal.SIGTERM, before)]:
            signal.signal(number, handler)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _websocket_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"ws", "wss"} or not url.hostname:
        raise ArgumentTypeError(f"{text!r} is not a URL like ws://localhost/ws/")
    return text


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ArgumentTypeError(
                f"{text!r} is not a whole number from {least} to {most:,}"
            )
        return int(text)

    return parse
