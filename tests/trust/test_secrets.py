"""Secrets do not appear in logs."""

from __future__ import annotations

import base64
import contextlib
import itertools
import time

from websockets.exceptions import ConnectionClosed, InvalidStatus

from runners.models import RunnerToken
from tests.clients import seed_client, typed_client
from tests.factories.people import (
    Keys,
    make_link,
    make_runner,
    make_session,
    make_token,
    make_user,
)
from tests.servers import Server
from tests.trust.doors import APPS, Doors
from tests.waiting import eventually


def make_keys(code: str) -> Keys:
    """Make a runner with an account. Return valid and revoked keys."""
    user = make_user(code)
    bob = make_runner(code, "Bob", account=user)
    dead, dead_plain = RunnerToken.objects.issue(bob, name="old")
    dead.revoke()
    ended, ended_plain = make_link(bob)
    ended.revoke()
    return Keys(
        tokens={"bob": make_token(bob), "dead": dead_plain},
        links={
            "open": make_link(bob)[1],
            "pin": make_link(bob, pin="473829")[1],
            "ended": ended_plain,
        },
        cookies={"bob": make_session(user)},
    )


async def test_no_secret_is_in_the_log(roomy_server: Server) -> None:
    """Use tokens, links, PINs and sessions in every way, also wrongly."""
    tag = f"x{time.monotonic_ns()}"
    keys = await roomy_server.adatabase(make_keys, tag)
    doors = Doors(roomy_server, keys)
    tokens, links = keys.tokens, keys.links
    secrets = {
        *tokens.values(),
        *links.values(),
        *keys.cookies.values(),
        "473829",
        "a-wrong-token-of-somebody",
    }
    ws_url = roomy_server.ws_url
    # A different address each time, because wrong tokens delay the address.
    addresses = ((f"127.1.0.{number}", 0) for number in itertools.count(1))
    for token in (*tokens.values(), "a-wrong-token-of-somebody"):
        basic = base64.b64encode(f"bob:{token}".encode()).decode()
        for path, headers in (
            (f"/?token={token}", {}),
            (f"/ws/?a=b&token={token}", {}),
            ("/", {"Authorization": f"Bearer {token}"}),
            ("/", {"Authorization": f"Basic {basic}"}),
            (f"/{token}", {}),
            (f"/ws/{token}/", {}),
            (f"/nowhere?token={token}", {"Origin": "https://elsewhere.example"}),
        ):
            if token == "a-wrong-token-of-somebody" and token in path.split("?")[0]:
                continue  # too short to be a real token
            with contextlib.suppress(InvalidStatus, ConnectionClosed):
                async with seed_client(
                    ws_url + path,
                    additional_headers=headers,
                    local_addr=next(addresses),
                ) as phone:
                    await phone.send(userId=tag, lat=48.5, lng=2.5)
        with contextlib.suppress(ConnectionClosed):
            async with typed_client(ws_url, local_addr=next(addresses)) as phone:
                await phone.send(type="auth", token=token)
                await phone.receive()
    for token in tokens.values():
        for app in (*APPS, "traccar", "misspelt", ""):
            for path in (
                f"/intake/{app}/{token}/",
                f"/intake/{app}/{token}",
                f"/intake/{app}/?token={token}&lat=48.5&lon=2.5",
                f"/intake/{app}/{token}/more/and/more",
            ):
                await doors.get("http", path)
        for path in (
            f"/intake/{token}/",
            f"/intake/{token}",
            f"/{token}/",
            f"/runners/{tag}/?token={token}",
            f"/runners/{token}/",
            f"/intake/gpslogger/{token}/spectate.properties",
        ):
            await doors.get("http", path)
        await doors.get("http", "/", headers={"Host": f"{token}.example"})
    for link in links.values():
        for path in (f"/s/{link}/", f"/s/{link}", f"/s/{link}/more/", f"/{link}"):
            await doors.get("http", path, owner="bob")
        await doors.get("http", f"/s/{link}/", body=b"pin=473829", method="PUT")
        await doors.get(
            "http",
            f"/s/{link}/",
            body=b"pin=473829",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        async with typed_client(ws_url) as mum:
            await mum.send(type="follow", share=link, pin="473829")
            await mum.receive()
    session = keys.cookies["bob"]
    with contextlib.suppress(InvalidStatus):
        async with typed_client(
            ws_url,
            additional_headers={
                "Origin": roomy_server.url,
                "Cookie": f"sessionid={session}",
            },
        ):
            pass
    # The last request is logged after all others.
    lines = roomy_server.log.count("/healthz")
    await doors.get("http", "/healthz")
    await eventually(lambda: roomy_server.log.count("/healthz") > lines)
    log = roomy_server.log
    assert "GET /intake/" in log or '"/intake/' in log or "intake" in log
    # A wrong Host header is the sender's fault: it gets one line without a traceback.
    assert "Invalid HTTP_HOST header" in log
    leaking = [
        line for line in log.splitlines() for secret in secrets if secret in line
    ]
    assert not leaking, leaking[:10]
    print(f"{len(secrets)} secrets, {log.count(chr(10))} lines on {roomy_server.kind}")
