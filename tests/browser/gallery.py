"""A page of every kind, with something on it; and pictures of them all.

`python -m tests.browser.gallery FOLDER [WORD ...]` takes the pictures, of those whose
name has one of the words, in light and dark, desktop and phone; `--lang de` in German.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, Route, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.servers import Server
from tests.services import chromium_path

DESKTOP, PHONE = (1280, 800), (390, 844)
LOOKS: list[tuple[Any, tuple[int, int]]] = [
    ("light", DESKTOP),
    ("dark", PHONE),
    ("dark", DESKTOP),
    ("light", PHONE),
]
WORLD = """
import json
from datetime import timedelta
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.template.loader import render_to_string
from django.utils import timezone
from runners.models import (
    Alert, Follow, Phone, RunnerToken, ShareLink, Sos, Subscription, Wave, Zone
)
from runners.notifying import mail
from tests.races.field import make_entry, make_race

now = timezone.now()
race = make_race(name="Riverside Ten", slug="ten", timezone="Pacific/Chatham")
make_race(name="Night Mile", slug="night", start=now + timedelta(days=3))
past = make_race(name="Harbour Ten", slug="past", start=now - timedelta(days=2))
make_entry(past, "fay", "2", pace=0.3)
red = Wave.objects.create(race=race, name="Red", start=race.start)
make_entry(race, "ann", "1", pace=0.2, category="W", wave=red)
make_entry(race, "cleo", "3", pace=0.3, category="W")
make_entry(race, "dan", "4", pace=0.4, status="dnf", category="M")
make_entry(race, "eli", "5", category="M")
vera = make_entry(race, "vera", "7", pace=0.31, visibility="public", wave=red)

office = User.objects.create(username="office", is_staff=True, is_superuser=True)
mum = User.objects.create(username="mum")
runner = vera.runner
runner.name, runner.account = "Vera Hill", User.objects.create(username="vera")
runner.save()
Follow.objects.create(user=mum, runner=runner, status="accepted")
for name, status in (("joe", "pending"), ("max", "blocked")):
    user = User.objects.create(username=name)
    Follow.objects.create(user=user, runner=runner, status=status)
token, _ = RunnerToken.objects.issue(runner, name="OwnTracks")
Phone.objects.create(token=token, app="OwnTracks", contact_at=now, fix_at=now)
Zone.objects.create(runner=runner, name="Home", lat=53.1, lng=-6.2, radius=300)
for key, seen in (("one", None), ("two", now)):
    Sos.objects.create(
        runner=runner, key=key, called_at=now, lat=48.1, lng=2, accuracy=9,
        placed_at=now, battery=40, seen_at=seen, seen_by=seen and office,
    )
browser = Subscription.objects.create(
    user=mum, endpoint="https://push.example/1", digest="1", device="Firefox, Android",
    confirmed_at=now,
)
address = Subscription.objects.create(user=mum, email="mum@example.org", digest="2")
Alert.objects.create(
    subscription=browser, runner=runner, start=True, checkpoint=True, finish=True
)

def link(**more):
    row, plain = ShareLink.objects.issue(
        **{"label": "Mum", "expires_at": now + timedelta(hours=5), "runners": [runner]}
        | more
    )
    return row, f"/s/{plain}/"

def session(user):
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return store.session_key

ended, ended_path = link()
ended.revoke()
words = mail.confirmation_mail(address).body.split()
confirm = next(word for word in words if "/confirm/" in word)
print(json.dumps({
    "race": race.pk, "runner": runner.pk, "token": token.pk,
    "stop": mail.stop_url(address).removeprefix(settings.PUBLIC_URL),
    "confirm": confirm.removeprefix(settings.PUBLIC_URL),
    "link": link()[1], "pin": link(pin="1234")[1], "ended": ended_path,
    "sessions": {u.username: session(u) for u in (office, mum, runner.account)},
    "errors": {n: render_to_string(f"{n}.html") for n in ("400", "403", "500")},
}))
"""


@dataclass(frozen=True)
class World:
    """What the gallery's pages are about, as `WORLD` printed it."""

    server: Server
    made: dict[str, Any]


def make_world(server: Server) -> World:
    return World(
        server, json.loads(server.manage("shell", "--no-imports", "-c", WORLD))
    )


def sign_in(context: BrowserContext, world: World, name: str) -> None:
    """Be somebody of the world, or nobody in particular ("")."""
    context.clear_cookies(name="sessionid")
    if name:
        session = world.made["sessions"][name]
        context.add_cookies(
            [{"name": "sessionid", "value": session, "url": world.server.url}]
        )


def pages(page: Page, world: World) -> Iterator[str]:
    """Go to each page in turn; yields its name once it stands there."""
    made, context = world.made, page.context

    def go(path: str) -> None:
        page.goto(path, wait_until="load")

    def go_live(path: str) -> None:
        go(path)
        page.wait_for_selector("#connection[data-state=open]")
        page.wait_for_selector("[data-runner]")

    sign_in(context, world, "")
    go_live("/")
    page.locator(".star").first.click()
    page.wait_for_selector("#mine-tools:not([hidden])")
    page.wait_for_selector("#places option:nth-child(2)", state="attached")
    page.select_option("#places", index=1)
    page.wait_for_selector("#arrivals:not([hidden])")
    yield "live"
    page.click("#bell")
    page.wait_for_selector("dialog.bell form")
    yield "live-bell"
    page.keyboard.press("Escape")
    go_live("/races/ten/")
    yield "race"
    page.click("#replay")
    page.wait_for_selector("#player:not([hidden])")
    yield "race-replay"
    go("/races/night/")
    yield "race-next"
    go("/races/past/")
    yield "race-over"
    go_live("/runners/vera/")
    yield "runner"
    go_live(made["link"])
    yield "link"
    go_live("/races/ten/?screen=1")
    yield "screen"
    go_live("/races/ten/?embed=1")
    yield "embed"
    for name, path in {
        "link-pin": made["pin"],
        "link-ended": made["ended"],
        "standings": "/races/ten/standings/",
        "standings-next": "/races/night/standings/",
        "standings-nobody": "/races/ten/standings/?q=zz",
        "entry": "/races/ten/runners/7/",
        "share-nobody": "/share/",
        "sign-in": "/sign-in/",
        "sign-up": "/sign-up/",
        "404": "/nothing/here/",
        "notifications-stop": made["stop"],
        "notifications-confirm": made["confirm"],
        "notifications-incomplete": "/notifications/stop/x/",
    }.items():
        go(path)
        yield name
    for name, html in made["errors"].items():
        page.route("**/broken/", _answering(html))
        go("/broken/")
        page.unroute("**/broken/")
        yield name

    sign_in(context, world, "mum")
    for name, path in {
        "become": "/me/new/",
        "notifications": "/me/notifications/",
        "delete-account": "/me/account/delete/",
    }.items():
        go(path)
        yield name

    sign_in(context, world, "vera")
    for name, path in {
        "share": "/share/",
        "phones": "/runners/vera/phones/",
        "phone": f"/runners/vera/phones/{made['token']}/",
        "me": "/me/",
    }.items():
        go(path)
        yield name
    page.evaluate(
        "for (const more of document.querySelectorAll('details')) more.open = true"
    )
    page.click("[action$='erase/'] button")
    yield "me-wrong"
    go("/me/")
    page.click("#links summary")
    page.fill("#link_label", "Club")
    page.click("#links details button[type=submit]")
    yield "me-link"
    go("/me/")
    page.click("#tokens summary")
    page.fill("#token_name", "Watch")
    page.click("#tokens details button[type=submit]")
    yield "me-token"
    go("/runners/vera/phones/")
    page.click("button[value=owntracks]")
    yield "phone-setup"

    sign_in(context, world, "office")
    race = f"/admin/runners/race/{made['race']}"
    for name, path in {
        "office-desk": f"{race}/desk/",
        "office-swap": f"{race}/desk/swap/",
        "office-start-list": f"{race}/start-list/",
        "office-checkpoints": f"{race}/checkpoints/",
        "office-phones": f"{race}/phones/",
        "office-token": f"/admin/runners/runner/{made['runner']}/issue-token/",
    }.items():
        go(path)
        yield name


def _answering(html: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(body=html, content_type="text/html")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--lang", default="en")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with Server(DEBUG="1") as server, sync_playwright() as playwright:
        world = make_world(server)
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_FLAGS
        )
        context = browser.new_context(base_url=server.url, locale=asked.lang)
        page = context.new_page()
        for name in pages(page, world):
            if asked.words and not any(word in name for word in asked.words):
                continue
            for scheme, (width, height) in LOOKS:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(300)
                file = asked.folder / f"{name}-{scheme}-{width}.png"
                is_map = page.locator("body.live").count() > 0
                page.screenshot(path=file, full_page=not is_map)
        browser.close()


if __name__ == "__main__":
    main()
