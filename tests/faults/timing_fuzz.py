"""Mutate lines of timing systems: none crashes a parser, and no valid one is lost.

The long form is 100,000 lines per format. It needs no server and no database.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import tests.servers  # noqa: F401  it sets Django up
from runners.timing import mylaps, raceresult
from runners.timing.reads import MAX_BIB, MAX_CODE, MAX_RAW, MAX_STATION, Read, clean
from tests.faults.by_hand import new_parser
from tests.faults.randomness import rng, use_seed

ZONE = ZoneInfo("Europe/Dublin")
NOW = datetime(2012, 6, 6, 12, 30, tzinfo=UTC)
SHORT, LONG = 400, 100_000
# Bytes that mean something in the formats, and some that do not belong there.
BYTES = b"@$|=;:.-0159tcdAP\x00\r\n\x80\xff\xf0\x9f#"


def mutated(line: bytes, random: random.Random) -> bytes:
    """Return a line with one to five changes."""
    found = bytearray(line)
    for _ in range(random.randint(1, 5)):
        at = random.randint(0, len(found))
        byte = random.choice(BYTES)
        change = random.randrange(4)
        if change == 0:
            found.insert(at, byte)
        elif change == 1:
            del found[at : at + random.randint(1, 8)]
        elif change == 2 and at < len(found):
            found[at] = byte
        else:
            piece = found[at : at + random.randint(1, 30)]
            found[at:at] = piece
    return bytes(found)


def check(read: Read) -> None:
    """Fail if a read cannot be stored."""
    assert len(read.station) <= MAX_STATION and len(read.raw) <= MAX_RAW
    assert len(read.chip) <= MAX_CODE and len(read.bib) <= MAX_BIB
    assert read.time is None or read.time.tzinfo is UTC
    assert read.time is None or read.is_marker or read.chip or read.bib
    text = read.station + read.raw + read.chip + read.bib
    assert "\0" not in text and text.encode()


def mutate_mylaps(random: random.Random) -> None:
    """Send a mutated message between two valid ones.

    Each of these is read exactly, or is not acknowledged, so that it is sent again.
    What a mutation leaves before the last one only makes its station an unknown one,
    of which a long name is cut.
    """
    day = NOW + timedelta(milliseconds=random.randrange(10**7))
    clock = day.astimezone(ZONE).strftime("%H:%M:%S.%f")[:-3]
    record = f"t={clock}|c=KV86583|ct=UH|d=120606|l=13|dv=4|re=0|an=00001111|g=0"
    sent = {
        station: f"{station}@Passing@{record}@{number}@$".encode()
        for number, station in ((1001, "5K"), (1002, "10K"), (1003, "15K"))
    }
    kind = random.choice(["Passing", "Marker", "Store"])
    middle = sent["10K"].replace(b"Passing", kind.encode())
    stream = sent["5K"] + mutated(middle, random) + sent["15K"]
    exact = set()
    acknowledged = set()
    for frame in stream.split(mylaps.END)[:-1]:
        message = mylaps.message_of(frame)
        if message.function in (*mylaps.DATA, ""):
            for read in mylaps.reads_of(message, ZONE, NOW):
                check(read)
                assert read.station == clean(message.location, MAX_STATION)
                exact.add((message.location, read.raw))
        acknowledged |= {
            number
            for number in (1001, 1003)
            for answer in mylaps.answers_to(message)
            if answer == f"{mylaps.NAME}@AckPassing@{number}@$"
        }
    assert ("5K", record) in exact and 1001 in acknowledged
    last = any(where.endswith("15K") and raw == record for where, raw in exact)
    assert last or 1003 not in acknowledged, stream


def mutate_raceresult(random: random.Random) -> None:
    """Read a mutated record of a random version."""
    records = (
        b"1;50001;2012-06-06;09:06:35.944;6;72;12;;0;;;;;;;;Finish;177;1;D-50432",
        b"2;ZICAD30;2012-06-06;09:06:36.000;0;75;127;;1;8;8;;6233;3.0;17;2;B;177;;D-5",
        b"3;17;0000-00-00;09:06:37.001;6;9",
        b"#P;4;17;;23:59:37.001;6;9;1",
    )
    line = mutated(random.choice(records), random).decode("latin-1").strip()
    check(raceresult.read_of_line(line, "10.0.0.9", ZONE, NOW))
    raceresult.count_of(mutated(b"PASSINGS;12;177", random).decode("latin-1"))


FORMATS: dict[str, Callable[[random.Random], None]] = {
    "mylaps": mutate_mylaps,
    "raceresult": mutate_raceresult,
}


def main() -> None:
    options = new_parser().parse_args()
    use_seed(options.seed)
    for name, mutate in FORMATS.items():
        for _ in range(LONG if options.long else SHORT):
            mutate(rng)
        print(f"{name}: as expected", flush=True)


if __name__ == "__main__":
    main()
