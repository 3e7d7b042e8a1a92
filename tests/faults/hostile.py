"""Send frames that no correct client sends.

Each gets exactly one answer: an error, a close code, or the end of the connection where
the server can no longer parse the stream. The log has no traceback, the process keeps
running, and the canary misses nothing in either dialect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runners.live.close_codes import FRAME_TOO_BIG, NOT_OUR_PROTOCOL
from tests.faults.by_hand import by_hand, open_server
from tests.faults.canary import Canary
from tests.faults.peer import SUBPROTOCOLS, Peer, open_peer
from tests.servers import Kind, Server
from tests.waiting import within
from tests.websocket import ABNORMAL, BINARY, CONTINUATION, PING, TEXT, Refused, frame

PROTOCOL_ERROR = 1002
NOT_UTF8 = 1007
TOO_BIG_ERROR = "message.too_big"
# Daphne's websocket library drops the connection where it should close with one of
# these, and an application below code 3000 can only close with 1000.
ON_DAPHNE = {ABNORMAL, 1000}
MIB = 1024 * 1024


@dataclass(frozen=True)
class Case:
    """Bytes to send, and the expected error, close code or both."""

    name: str
    data: bytes
    error: str | None = None
    close: int | None = None


@dataclass
class HostileReport:
    cases: int = 0
    # Unexpected answers by dialect and case.
    wrong: dict[str, str] = field(default_factory=dict)

    def faults(self) -> list[str]:
        return [f"{name}: {answer}" for name, answer in self.wrong.items()]


def text(value: object) -> bytes:
    return frame(json.dumps(value).encode())


def broken_streams() -> Iterator[Case]:
    """Yield violations of the websocket protocol itself."""
    yield Case("invalid UTF-8", frame(b'{"a":"\xff\xfe"}'), close=NOT_UTF8)
    yield Case("half a UTF-8 character", frame(b"\xf0\x9f"), close=NOT_UTF8)
    for name, data in {
        "a continuation of nothing": frame(b"{}", CONTINUATION),
        "a message in the midst of another": frame(b"{", fin=False) + frame(b"}"),
        "garbage for a second fragment": frame(b"{", fin=False)
        + b"\xff\x00\x13garbage",
        "a reserved opcode": frame(b"{}", 3),
        "a reserved bit": bytes((0xC1, 0x82)) + bytes(4) + b"{}",
        "no mask": b"\x81\x02{}",
        "a ping in fragments": frame(b"p", PING, fin=False),
        "a ping of 200 bytes": frame(b"p" * 200, PING),
        "no frame at all": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    }.items():
        yield Case(name, data, close=PROTOCOL_ERROR)
    for name, data in {
        "a text of 1 MiB": frame(b'"' + b"a" * (MIB - 2) + b'"'),
        "a text of 1 MiB in fragments": b"".join(
            frame(b" " * 1024, CONTINUATION if n else TEXT, fin=n == 1023)
            for n in range(1024)
        ),
        "a frame said to have 2^62 bytes": b"\x81\xff\x40" + bytes(7 + 4) + b"{",
        "a follow of 100,000 ids": text(
            {
                "initialRequest": True,
                "following": list(range(100_000)),
                "type": "follow",
                "runners": list(range(100_000)),
            }
        ),
    }.items():
        yield Case(name, data, close=FRAME_TOO_BIG)
    yield Case(
        "binary",
        frame(b'{"type":"ping"}', BINARY),
        "message.invalid",
        NOT_OUR_PROTOCOL,
    )
    yield Case("binary, empty", frame(b"", BINARY), "message.invalid", NOT_OUR_PROTOCOL)


def not_messages() -> Iterator[Case]:
    """Yield texts that are not messages in either dialect."""
    for name, payload in {
        "an empty text": b"",
        "a blank": b" ",
        "not JSON": b"hello",
        "half an object": b'{"userId": 7, "lat"',
        "two objects": b"{}{}",
        "a list": b"[1, 2]",
        "a number": b"7",
        "a string": b'"ping"',
        "null": b"null",
        "50,000 lists deep": b"[" * 50_000,
        "20,000 objects deep": b'{"a":' * 20_000,
        "20,000 lists deep, closed": b"[" * 20_000 + b"]" * 20_000,
        "NaN": b'{"userId":7,"lat":NaN,"lng":2.35,"type":"ping","x":NaN}',
        "Infinity": b'{"userId":7,"lat":-Infinity,"lng":2.35,"type":"ping"}',
        "half a surrogate pair": b'{"userId":"\\ud800","lat":1.5,"lng":2.5}',
        "a number of 400 digits": b'{"userId":7,"lat":1.5,"lng":%d}' % 10**400,
        "a NUL": b"\0",
        "a byte order mark": b"\xef\xbb\xbf{}",
    }.items():
        yield Case(name, frame(payload), "message.invalid")
    yield Case(
        "not JSON, in fragments",
        frame(b"hel", fin=False)
        + frame(b"", CONTINUATION, fin=False)
        + frame(b"?", PING)
        + frame(b"lo", CONTINUATION),
        "message.invalid",
    )


STRANGE_IDS: dict[str, object] = {
    "a list": [7],
    "an object": {"a": 1},
    "null": None,
    "a truth": True,
    "a fraction": 7.5,
    "less than 0": -1,
    "over 2^53": 2**53,
    "empty": "",
    "41 letters": "a" * 41,
    "not a code": "a b",
    "not ASCII": "７",
    "a line end": "7\n",
    "SQL": "7'; DROP TABLE runners_runner; --",
}


def seed_cases() -> Iterator[Case]:
    position = {"userId": 7, "lat": 48.85, "lng": 2.35}
    for name, strange in STRANGE_IDS.items():
        yield Case(
            f"an id: {name}", text(position | {"userId": strange}), "runner.invalid"
        )
        yield Case(
            f"following: {name}",
            text({"initialRequest": True, "following": [strange], "userId": 7}),
            "runner.invalid",
        )
    yield Case("no id", text({"lat": 48.85, "lng": 2.35}), "runner.invalid")
    for name, lat in {
        "text": "48.85",
        "a list": [48.85],
        "null": None,
        "a truth": True,
        "over the pole": 90.000001,
    }.items():
        yield Case(f"lat: {name}", text(position | {"lat": lat}), "position.invalid")
    yield Case(
        "lat: 1e999", frame(b'{"userId":7,"lat":1e999,"lng":1}'), "message.invalid"
    )
    yield Case("no lng", text({"userId": 7, "lat": 48.85}), "position.invalid")
    yield Case("0/0", text(position | {"lat": 0, "lng": 0}), "position.invalid")
    yield Case("an unknown message", text({"hello": "world"}), "message.invalid")
    for name, following in {
        "missing": None,
        "text": "7",
        "an object": {"7": 1},
    }.items():
        yield Case(
            f"following is {name}",
            text({"initialRequest": True, "following": following, "userId": 7}),
            "message.invalid",
        )
    yield Case(
        "following 20,000 ids",
        text({"initialRequest": True, "following": list(range(20_000))}),
        "follow.limit",
    )


def typed_cases() -> Iterator[Case]:
    for name, strange in STRANGE_IDS.items():
        yield Case(
            f"follow: {name}",
            text({"type": "follow", "runners": [strange]}),
            "runner.invalid",
        )
    for name, message in {
        "an id that is a list": {"type": "ping", "id": [7]},
        "an id that is an object": {"type": "ping", "id": {}},
        "runners are text": {"type": "follow", "runners": "7"},
        "races are an object": {"type": "follow", "races": {}},
        "public is a number": {"type": "follow", "public": 1},
        "a tick that is text": {"type": "follow", "runners": [7], "tick": "fast"},
        "a tick below 0": {"type": "follow", "runners": [7], "tick": -1},
        "a token that is a list": {"type": "auth", "token": ["a"]},
    }.items():
        yield Case(name, text(message), "message.invalid")
    for name, type_ in {
        "an unknown type": "teleport",
        "a type that is a list": ["ping"],
        "a type that is null": None,
        "a method's name": "__init__",
    }.items():
        yield Case(name, text({"type": type_}), "message.unknown")
    yield Case("no type", text({"runners": [7]}), "message.unknown")
    yield Case(
        "a seed message", text({"userId": 7, "lat": 1.5, "lng": 2}), "message.unknown"
    )
    yield Case(
        "publish without a token",
        text({"type": "publish", "fixes": [{"t": 1, "lat": 1, "lng": 1}]}),
        "token.required",
    )
    yield Case(
        "an unknown race", text({"type": "follow", "races": [["a"]]}), "race.unknown"
    )
    yield Case(
        "follow of 20,000 ids",
        text({"type": "follow", "runners": list(range(20_000))}),
        "follow.limit",
    )


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "seed": seed_cases,
    "v1": typed_cases,
}
# Sent after a case that leaves the socket open. Its answer must be the next one. No
# error of the cases mentions a barrier.
BARRIER: dict[str, dict[str, object]] = {
    "seed": {"initialRequest": True, "following": ["no barrier"]},
    "v1": {"type": "ping", "id": "barrier"},
}


def is_barrier(dialect: str, message: dict[str, object]) -> bool:
    if dialect == "seed":
        return "no barrier" in str(message.get("detail"))
    return message.get("type") == "pong"


async def answer(url: str, kind: Kind, dialect: str, case: Case) -> str | None:
    """Send a case on a new socket and return what was wrong, or None."""
    peer = await open_peer(url, dialect)
    try:
        peer.send_raw(case.data)
        if case.close is not None:
            code = await within(peer.closed)
            errors = errors_of(peer.drain(), dialect)
            codes = {case.close} | (ON_DAPHNE if kind == "daphne" else set())
            if code in codes and errors in ([case.error], [TOO_BIG_ERROR], []):
                return None
            return f"closed with {code}, errors {errors}"
        # The errors of the case precede the answer to the barrier.
        peer.send(BARRIER[dialect])
        messages = [await peer.message(20)]
        while not is_barrier(dialect, messages[-1]):
            messages.append(await peer.message(20))
        errors = errors_of(messages[:-1], dialect)
        return None if errors == [case.error] else f"errors {errors}"
    except TimeoutError:
        return f"no answer, closed: {peer.closed.done()}, {peer.drain()}"
    finally:
        peer.reset()


def errors_of(messages: list[dict[str, object]], dialect: str) -> list[object]:
    if dialect == "seed":
        return [message.get("error") for message in messages]
    return [m.get("code") for m in messages if m.get("type") == "error"]


async def refusals(url: str) -> dict[str, str]:
    """Try handshakes that must get HTTP 403 and return those that do not."""
    wrong = {}
    for name, where, subprotocol in (
        ("an unknown path", f"{url}nowhere", None),
        ("an unknown path of the typed dialect", f"{url}a/b", "spectate.v1"),
        ("an unknown subprotocol", url, "chat.v7"),
        ("a path of 4,000 letters", url + "a" * 4_000, None),
        ("a path that is not UTF-8", f"{url}%ff%fe", None),
    ):
        peer = Peer()
        try:
            await peer.open(where, subprotocol)
        except Refused as refused:
            if refused.status != 403:
                wrong[name] = str(refused)
        else:
            wrong[name] = "accepted"
            peer.reset()
    return wrong


async def hostile(server: Server, long: bool) -> HostileReport:
    """Send all cases in both dialects, in the long form twenty times."""
    report = HostileReport()
    url = server.ws_url + "/"
    async with Canary(server):
        for _ in range(20 if long else 1):
            report.wrong |= await refusals(url)
            for dialect in SUBPROTOCOLS:
                for case in (*broken_streams(), *not_messages(), *CASES[dialect]()):
                    report.cases += 1
                    wrong = await answer(url, server.kind, dialect, case)
                    if wrong is not None:
                        report.wrong[f"{dialect}, {case.name}"] = wrong
    return report


if __name__ == "__main__":
    by_hand(hostile, started=open_server)
