"""Stores what a phone has reported, whichever way the report came."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from runners import database
from runners.intake.app import WHOLE, Outcome, Reading
from runners.models import Runner
from runners.notifying.sos import alarm_store
from runners.positions.pipeline import Receipt
from runners.positions.validation import FixError
from runners.rights.token_lookup import TokenIdentity
from runners.serving.process import Process
from runners.units.errors import CodedError

# How long a delivery waits for the commit.
COMMIT_TIMEOUT_S = 10.0
# When to retry after the database was overloaded or unavailable.
RETRY_AFTER_S = 5


class TryLater(CodedError):
    """The report cannot be handled now: the status, and the seconds until a retry."""

    def __init__(self, status: int, code: str, detail: str, after: float) -> None:
        super().__init__(code, detail)
        self.status = status
        self.after = math.ceil(after)


class Turn:
    """The reports of one token that this process is handling."""

    __slots__ = ("lock", "reports")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.reports = 0


class Turns:
    """The turns of the tokens whose reports are being handled."""

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}

    @asynccontextmanager
    async def of(self, token: int) -> AsyncIterator[None]:
        """Wait for this report's turn among those of its token.

        Each pass of the event loop handles one report per token, so that a phone's
        backlog after an outage, or the responses after a commit, do not delay other
        phones.
        """
        turn = self._turns.get(token)
        if turn is None:
            turn = self._turns[token] = Turn()
        turn.reports += 1
        try:
            async with turn.lock:
                # Otherwise each report would be completed before the next one is
                # queued.
                await asyncio.sleep(0)
                yield
        finally:
            turn.reports -= 1
            if not turn.reports:
                del self._turns[token]


_turns = Turns()


def refuse_overload(process: Process) -> None:
    """Raise `TryLater` while the process is too busy for reports."""
    if process.admission.refuses_reports:
        process.pipeline.refused["server.busy"] += 1
        raise TryLater(
            503,
            "server.busy",
            "The server is overloaded. Keep what you have and try again.",
            RETRY_AFTER_S,
        )


async def find_bearer(process: Process, token: str) -> TokenIdentity | None:
    """Return the owner of a token, which may have ended; raises `TryLater`."""
    try:
        return await process.tokens.find(token)
    except database.DatabaseUnavailable:
        raise _store_unavailable() from None


def record_ended(process: Process, bearer: TokenIdentity) -> None:
    """Record for the runner that a phone uses a token that has ended."""
    ended = ("token.ended", "The phone still uses a token that has ended.")
    process.pipeline.phone_activity.record(
        bearer.token, bearer.publisher.pk, refused=[ended]
    )


async def deliver(
    process: Process,
    name: str,
    bearer: TokenIdentity,
    read: Callable[[], Awaitable[Reading]],
) -> Outcome:
    """Store what `read` returns; the outcome is known after the commit.

    `name` is that of the app's endpoint. Raises `TryLater` if the report has to be
    delivered again.
    """
    pk, runner = bearer.token, bearer.publisher.pk
    record = process.pipeline.phone_activity.record
    try:
        async with _turns.of(pk):
            reading = await read()
            await _call_for_help(bearer, reading)
            receipt = await _publish(process, name, bearer, reading)
    except FixError as error:
        # A permanent error: sending it again would not help.
        process.pipeline.refuse(error)
        record(pk, runner, refused=[(error.code, error.detail)])
        return Outcome(0, [(WHOLE, error.code, error.detail)])
    except TryLater as error:
        record(pk, runner, refused=[(error.code, error.detail)])
        raise
    lost = await _commit(receipt)
    async with _turns.of(pk):
        pass
    rejected = [
        (reading.indices[index], code, detail)
        for index, code, detail in receipt.rejected
    ]
    if reading.is_activity:
        record(
            pk,
            runner,
            app=reading.app,
            accepted=receipt.accepted,
            refused=[(code, detail) for _place, code, detail in rejected],
        )
    return Outcome(receipt.accepted - lost, rejected)


async def _call_for_help(bearer: TokenIdentity, reading: Reading) -> None:
    """Store a call for help, before anything that may refuse its position."""
    if reading.call is None:
        return
    try:
        await database.read(alarm_store, runner=bearer.publisher.pk, call=reading.call)
    except Runner.DoesNotExist:
        pass  # The runner was deleted after the token was read.
    except database.DatabaseUnavailable:
        raise _store_unavailable() from None


async def _publish(
    process: Process, name: str, bearer: TokenIdentity, reading: Reading
) -> Receipt:
    """Pass fixes to the pipeline; raises `TryLater`."""
    if not reading.fixes:
        return Receipt([], 0, None)
    count = len(reading.fixes)
    bucket = process.publish_limits.of(bearer.publisher.pk)
    if wait := bucket.take(count):
        raise TryLater(
            429,
            "rate.limited",
            "Too many positions at once. Keep them and send them later.",
            wait,
        )
    source = f"{name} mock" if reading.is_mock else name
    receipt = await process.pipeline.accept(
        bearer.publisher, reading.fixes, source=source
    )
    if receipt.stored is None:
        bucket.refund(count)
        raise _store_unavailable()
    return receipt


async def _commit(receipt: Receipt) -> int:
    """Wait for the commit and return how many fixes the database refused."""
    if receipt.stored is None:
        return 0
    try:
        async with asyncio.timeout(COMMIT_TIMEOUT_S):
            return await asyncio.shield(receipt.stored)
    except TimeoutError:
        raise _store_unavailable() from None


def _store_unavailable() -> TryLater:
    return TryLater(
        503,
        "store.unavailable",
        "The database does not keep up. Keep what you have and try again.",
        RETRY_AFTER_S,
    )
