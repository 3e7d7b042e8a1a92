"""A phone that continues to send after its token was revoked."""

from __future__ import annotations

import contextlib

from runners.models import RunnerToken
from tests.clients import typed_client
from tests.factories.people import make_runner
from tests.faults.peer import Peer
from tests.servers import Server
from tests.websocket import CLOSE


class StubbornPeer(Peer):
    """Answers no close frame and continues to send."""

    def handle(self, opcode: int, payload: bytes) -> None:
        if opcode != CLOSE:
            super().handle(opcode, payload)


async def test_nothing_is_accepted_after_a_token_was_revoked(server: Server) -> None:
    bob = await server.adatabase(make_runner, "bob")
    row, token = await server.adatabase(RunnerToken.objects.issue, bob, name="phone")
    phone = await StubbornPeer().open(f"{server.ws_url}/?token={token}")
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", runners=["bob"], tick=0)
        await alice.receive_type("snapshot")
        phone.send({"userId": "bob", "lat": 1, "lng": 1})
        await alice.receive_type("positions")
        await server.adatabase(row.revoke)
        while "token.revoked" not in (await phone.message()).get("error", ""):
            pass
        received = []
        with contextlib.suppress(ConnectionError):
            for n in range(20):
                phone.send({"userId": "bob", "lat": 60, "lng": n})
                # The server reads what the phone has sent.
                received += await alice.received()
        received += await alice.received()
        assert not any(60 in row for each in received for row in each.get("fixes", ()))
    phone.transport.abort()
