"""What is secret is in no log."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time

from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.clients import seed_client, typed_client
from tests.office import Office
from tests.servers import Server
from tests.trust.doors import APPS, Doors


async def test_no_secret_is_in_the_log(roomy_server: Server, office: Office) -> None:
    """Tokens, links, PINs and sessions, used in every way and also wrongly."""
    tag = f"x{time.monotonic_ns()}"
    world: dict[str, dict[str, str]] = json.loads(
        await office.do(
            "import json\nfrom datetime import timedelta\n"
            "from django.test import Client as Browser\n"
            f"user = User.objects.create_user('{tag}')\n"
            f"bob = Runner.objects.create(code='{tag}', name='Bob', account=user)\n"
            "browser = Browser(); browser.force_login(user)\n"
            "later = timezone.now() + timedelta(hours=1)\n"
            "issue = lambda **more: ShareLink.objects.issue(\n"
            "    label='Mum', runners=[bob], expires_at=later, **more)\n"
            "ended, ended_plain = issue(); ended.revoke()\n"
            "dead, dead_plain = RunnerToken.objects.issue(bob, name='old')\n"
            "dead.revoke()\n"
            "print(json.dumps({'tokens': {'bob': RunnerToken.objects.issue(bob,\n"
            "    name='phone')[1], 'dead': dead_plain}, 'links': {'open': issue()[1],\n"
            "    'pin': issue(pin='473829')[1], 'ended': ended_plain},\n"
            "    'cookies': {'bob': browser.cookies['sessionid'].value}}))"
        )
    )
    doors = Doors(roomy_server, world)
    tokens, links = world["tokens"], world["links"]
    secrets = {
        *tokens.values(),
        *links.values(),
        *world["cookies"].values(),
        "473829",
        "a-wrong-token-of-somebody",
    }
    ws_url = roomy_server.ws_url
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
                continue  # too short to be one of ours
            with contextlib.suppress(InvalidStatus, ConnectionClosed):
                async with seed_client(
                    ws_url + path, additional_headers=headers
                ) as phone:
                    await phone.say(userId=tag, lat=48.5, lng=2.5)
        with contextlib.suppress(ConnectionClosed):
            async with typed_client(ws_url) as phone:
                await phone.say(type="auth", token=token)
                await phone.hear()
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
            await mum.say(type="follow", share=link, pin="473829")
            await mum.hear()
    session = world["cookies"]["bob"]
    with contextlib.suppress(InvalidStatus):
        async with typed_client(
            ws_url,
            additional_headers={
                "Origin": roomy_server.url,
                "Cookie": f"sessionid={session}",
            },
        ):
            pass
    await asyncio.sleep(0.3)
    log = roomy_server.log
    assert "GET /intake/" in log or '"/intake/' in log or "intake" in log
    # A wrong Host header is the sender's fault: it has a line and no more.
    assert "Invalid HTTP_HOST header" in log
    leaking = [
        line for line in log.splitlines() for secret in secrets if secret in line
    ]
    assert not leaking, leaking[:10]
    print(f"{len(secrets)} secrets, {log.count(chr(10))} lines on {roomy_server.kind}")
