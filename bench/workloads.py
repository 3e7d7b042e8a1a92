"""The workloads of the benchmark, and the columns of their tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.contenders import (
    ONE_SHARED,
    OURS,
    OURS_DAPHNE,
    SOCKET_IO,
    TEXTBOOK,
    TEXTBOOK_DAPHNE,
    TWO_SHARED,
    WS,
    WS_MERGED,
    Contender,
)

# The generator's report of one run, with `server`, `load_average` and, if there is a
# database, `stored`.
Result = dict[str, Any]
# A column: its title, its value for the runs of one server, and its decimals.
Column = tuple[str, Callable[[Sequence[Result]], float | None], int]

# A server with a greater p99 does not keep up.
KEEPS_UP_MS = 1_000
# The factor between two numbers of spectators in the search for the greatest.
STEP = 1.2


@dataclass(frozen=True)
class Load:
    """One row of a table: a server and the generator's arguments."""

    contender: Contender
    arguments: str
    runs: int = 3
    # Whether the server is in open mode. Otherwise it has production's rights, a race
    # and tokens.
    open: bool = True
    # The number of spectators to start the search from. None: use the arguments.
    search_from: int | None = None
    label: str = ""
    # The title of the load whose figures are divided by this one's.
    compared_with: str = ""

    @property
    def title(self) -> str:
        return self.contender.name + (f", {self.label}" if self.label else "")


@dataclass
class Workload:
    """A table of the results."""

    name: str
    title: str
    description: str
    loads: Sequence[Load]
    columns: Sequence[Column]
    # The results of all runs, by title of the load.
    results: dict[str, list[Result]] = field(default_factory=dict)

    def table(self) -> list[str]:
        """Format the medians of the runs."""
        titles = [title for title, _, _ in self.columns]
        lines = [
            f"| server | {' | '.join(titles)} |",
            f"|---|{'---:|' * len(titles)}",
        ]
        for load in self.loads:
            if results := self.results.get(load.title):
                cells = [
                    shown(value(results), digits) for _, value, digits in self.columns
                ]
                lines.append(row(load.title, cells))
            if results and (ours := self.results.get(load.compared_with)):
                ratios = [
                    shown(ratio(value(ours), value(results)), 2)
                    for _, value, _ in self.columns
                ]
                lines.append(row("ratio", ratios))
        return lines

    def compared(self, commit: str, root: Path) -> Workload:
        """Return the workload for our servers only, each beside another commit's.

        The runs alternate, so that other load on the machine affects both.
        """
        loads = []
        for load in self.loads:
            ours = load.contender
            if ours.ours:
                other = replace(ours, name=f"{ours.name} at {commit}", root=root)
                loads += [
                    load,
                    replace(load, contender=other, compared_with=load.title),
                ]
        return replace(self, loads=loads)


def row(title: str, cells: Sequence[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


def shown(value: float | None, digits: int) -> str:
    if value is None or math.isnan(value):
        return ""
    return "∞" if math.isinf(value) else f"{value:,.{digits}f}"


def middle(key: str) -> Callable[[Sequence[Result]], float | None]:
    """Return the median of the runs. An age of null counts as infinite."""

    def value(results: Sequence[Result]) -> float | None:
        values: list[float | None] = [r[key] for r in results if key in r]
        if key.endswith("_ms"):
            values = [math.inf if each is None else each for each in values]
        known = [each for each in values if each is not None]
        return median(known) if known else None

    return value


def total(*keys: str) -> Callable[[Sequence[Result]], float | None]:
    return lambda results: float(sum(r.get(key) or 0 for r in results for key in keys))


def stored(results: Sequence[Result]) -> float | None:
    """Return the percentage of positions that were in the database at the end."""
    if "stored" not in results[0]:
        return None
    rows: int = sum(result["stored"] for result in results)
    published: int = sum(result["published_in_all"] for result in results)
    return 100 * rows / published


def keeps_up(result: Result) -> bool:
    age: float | None = result["p99_ms"]
    return not result["closed"] and age is not None and age < KEEPS_UP_MS


FANOUT: Sequence[Column] = (
    ("deliveries/s", middle("deliveries_per_s"), 0),
    ("per server CPU s", middle("deliveries_per_cpu_s"), 0),
    ("expected", total("expected"), 0),
    ("lost", total("lost"), 0),
    ("out of order", total("disordered"), 0),
    ("RSS MiB", middle("rss_mb"), 0),
    ("stored %", stored, 1),
)
LATENCY: Sequence[Column] = (
    ("p50 ms", middle("p50_ms"), 1),
    ("p99 ms", middle("p99_ms"), 1),
    ("per server CPU s", middle("deliveries_per_cpu_s"), 0),
    ("lost", total("lost"), 0),
    ("generator late ms", middle("lag_max_ms"), 1),
)
SEED: Sequence[Column] = (
    ("seconds", middle("seconds"), 2),
    ("server CPU s", middle("server_cpu_s"), 2),
    ("expected", total("expected"), 0),
    ("lost", total("lost"), 0),
    ("twice or out of order", total("duplicates", "disordered"), 0),
    ("invalid ones delivered", total("invalid_delivered"), 0),
)
RACE: Sequence[Column] = (
    ("spectators", middle("spectators"), 0),
    ("p50 ms", middle("p50_ms"), 0),
    ("p99 ms", middle("p99_ms"), 0),
    ("of a core", middle("server_core"), 3),
    ("us CPU a spectator s", middle("cpu_us_a_spectator_second"), 1),
    ("us CPU a delivery", middle("cpu_us_a_delivery"), 3),
    ("lost", total("lost"), 0),
    ("KB a minute", lambda r: (middle("bytes_a_spectator_minute")(r) or 0) / 1e3, 0),
    ("RSS MiB", middle("rss_mb"), 0),
    ("ack p99 ms", middle("ack_p99_ms"), 0),
)
IDLE: Sequence[Column] = (
    ("spectators", middle("spectators"), 0),
    ("KiB each", middle("kib_a_socket"), 1),
    ("after a ping and a position", middle("kib_a_socket_reached"), 1),
    ("kernel's KiB", middle("kernel_kib_a_socket"), 1),
    ("us CPU to connect", middle("connect_cpu_us"), 0),
)
CHURN: Sequence[Column] = (
    ("visits/s", middle("visits_per_s"), 0),
    ("us CPU a visit", middle("cpu_a_visit_us"), 0),
    ("lost to those who stay", total("lost"), 0),
    ("their p99 ms", middle("p99_ms"), 0),
    ("of a core", middle("server_core"), 3),
    ("generator's", middle("generator_cpu"), 3),
    ("RSS MiB before", middle("rss_before_mb"), 0),
    ("after", middle("rss_after_mb"), 0),
    ("files before", middle("files_before"), 0),
    ("after ", middle("files_after"), 0),
)
PROCESSES: Sequence[Column] = (
    ("spectators", middle("spectators"), 0),
    ("deliveries/s", middle("deliveries_per_s"), 0),
    ("us CPU a delivery", lambda r: 1e6 / (middle("deliveries_per_cpu_s")(r) or 1), 2),
    ("p50 ms", middle("p50_ms"), 1),
    ("p99 ms", middle("p99_ms"), 1),
    ("lost", total("lost"), 0),
    ("stored %", stored, 1),
)


def everything(quick: bool) -> list[Workload]:
    """Return all workloads: the complete comparison, or one with shorter runs."""
    runs = 1 if quick else 3
    seconds = 3 if quick else 8
    fanout = f"fanout --runners 100 --follows 10 --duration {seconds}"
    wide = f"{fanout} --spectators 500"
    narrow = f"{fanout} --spectators 100"
    race = f"race --duration {8 if quick else 20} --warmup {4 if quick else 8}"
    probe = "race --duration 10 --warmup 2"
    # Our servers send the first ping after 20 s.
    idle = (
        f"idle --runners 20 --spectators 10000 --pinged 22 --settle {3 if quick else 4}"
    )
    # The protocol's default tick, which the ages of spectators include.
    churn = (
        "churn --spectators 200 --runners 50 --tick 250 "
        f"--duration {5 if quick else 10}"
    )
    if quick:
        # A search takes minutes. These have a p99 under one second at such a number.
        peers = [
            Load(peer, f"{race} --spectators {n}", 1, label=f"{n:,}")
            for peer, n in ((WS, 600), (WS_MERGED, 10_000))
        ]
    else:
        peers = [
            Load(peer, probe, 1, search_from=n)
            for peer, n in (
                *((WS, 1_200), (WS_MERGED, 8_300), (SOCKET_IO, 800)),
                (TEXTBOOK, 15),
            )
        ]
    return [
        Workload(
            "fanout",
            "Fan-out, closed loop",
            "100 runners on 100 sockets; each spectator follows 10.",
            [
                *(
                    Load(
                        contender,
                        f"{fanout} --spectators {10 * followers}",
                        runs if contender is WS_MERGED or followers != 50 else 3,
                        label=f"{followers} followers",
                    )
                    for followers in (10, 50, 100, 500)
                    for contender in (OURS, WS, WS_MERGED)
                ),
                *(
                    Load(
                        contender,
                        wide,
                        3 if contender is OURS_DAPHNE else runs,
                        label="50 followers",
                    )
                    for contender in (
                        (SOCKET_IO, OURS_DAPHNE)
                        if quick
                        else (SOCKET_IO, OURS_DAPHNE, TEXTBOOK, TEXTBOOK_DAPHNE)
                    )
                ),
            ],
            FANOUT,
        ),
        Workload(
            "latency",
            "Latency, open loop",
            "100 runners, 100 spectators who follow 10, at a fixed rate.",
            [
                Load(OURS, f"{narrow} --rate 1", runs, label="1 Hz"),
                Load(TEXTBOOK, f"{narrow} --rate 1", runs, label="1 Hz"),
                Load(WS, f"{narrow} --rate 40", runs, label="40 Hz"),
                Load(OURS, f"{narrow} --rate 40", runs, label="40 Hz"),
                Load(
                    OURS,
                    f"{narrow} --rate 40 --dialect v1",
                    runs,
                    label="40 Hz, typed, tick 250 ms",
                ),
            ],
            LATENCY,
        ),
        Workload(
            "seed",
            "The client of 2015",
            "100 users follow themselves and the next one and send 100,000 positions, "
            "half of them not valid, as fast as they can.",
            [
                Load(contender, "seed2015 --messages 100000", 3)
                for contender in (OURS, WS)
            ],
            SEED,
        ),
        Workload(
            "race",
            "A race: 200 runners at 1 Hz, everybody watches all",
            "Ours in the typed dialect with a tick of 1 s, rights, course and "
            "recording; the peers at "
            + ("a" if quick else "the greatest")
            + " number of spectators with a p99 under 1 s.",
            [
                *(
                    Load(OURS, f"{race} --spectators {n}", runs, False, label=f"{n:,}")
                    for n in (100, 1_000, 7_500, 10_000, 15_000)
                    if not quick or n in (100, 15_000)
                ),
                Load(
                    OURS,
                    f"{race} --spectators 10 --runners 500 --rate 10",
                    runs,
                    False,
                    label="10, and 5,000 fixes/s",
                ),
                *peers,
            ],
            RACE,
        ),
        Workload(
            "idle",
            "Memory of a spectator who is connected and follows",
            "KiB in the server's processes; the kernel's part is for the server's end.",
            [
                Load(OURS, idle, runs, False),
                *(
                    Load(
                        contender,
                        f"{idle} --follows one",
                        runs,
                        label="seed dialect",
                    )
                    for contender in ((WS,) if quick else (OURS, WS, SOCKET_IO))
                ),
            ],
            IDLE,
        ),
        Workload(
            "churn",
            "Churn: visitors come, follow and vanish, over and over",
            "Beside 200 spectators who watch 50 runners; ours with a tick of 250 ms.",
            [
                Load(
                    contender,
                    f"{churn} --visitors {visitors}",
                    runs,
                    contender is WS,
                    label=f"{visitors} visitors at once",
                )
                for contender in (OURS, WS)
                for visitors in ((16,) if quick else (0, 16, 256))
            ],
            CHURN,
        ),
        Workload(
            "processes",
            "One process and two, behind Redis and PostgreSQL",
            "100 runners at 10 Hz, 500 spectators a process who follow 10.",
            [
                Load(contender, f"{wide} --rate 10 --spectators {spectators}", runs)
                for contender, spectators in (
                    (OURS, 500),
                    (ONE_SHARED, 500),
                    (TWO_SHARED, 1_000),
                )
            ],
            PROCESSES,
        ),
    ]


def short() -> list[Workload]:
    """Return workloads that check within a minute that all of it works."""
    fanout = "fanout --runners 100 --spectators 100 --follows 10"
    return [
        Workload(
            "short",
            "Fan-out, closed loop",
            "",
            [
                Load(contender, f"{fanout} --warmup 0.5 --duration 2", 1)
                for contender in (OURS, OURS_DAPHNE, TEXTBOOK, WS)
            ],
            FANOUT,
        )
    ]
