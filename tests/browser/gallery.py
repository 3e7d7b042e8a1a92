"""Visit a page of every kind, with data; take screenshots of them all.

`python -m tests.browser.gallery FOLDER [WORD ...]` selects pages whose name contains
one of the words, light and dark, on a desktop and two phones. `--lang de` selects
German, `--widths 320` one width. It prints where text is cut off or overflows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Route

from tests.browser.pages import chromium_browser, without_map
from tests.factories.site import PASSWORD, Site, make_site
from tests.servers import Server

DESKTOP = (1280, 800)
PHONE = (390, 844)
APPEARANCES: list[tuple[Any, tuple[int, int]]] = [
    ("light", DESKTOP),
    ("dark", PHONE),
    ("dark", DESKTOP),
    ("light", PHONE),
]


def sign_in(context: BrowserContext, server: Server, session: str = "") -> None:
    """Use a session's cookie, or none."""
    context.clear_cookies(name="sessionid")
    if session:
        context.add_cookies(
            [{"name": "sessionid", "value": session, "url": server.url}]
        )


def pages(page: Page, server: Server, site: Site) -> Iterator[str]:
    """Visit each page in turn; yield its name when it is loaded."""
    context = page.context

    def go(path: str) -> None:
        page.goto(path, wait_until="load")

    def go_live(path: str) -> None:
        go(path)
        page.wait_for_selector("#connection[data-state=open]")
        page.wait_for_selector("[data-runner]")

    def submit(button: str) -> None:
        with page.expect_navigation(wait_until="load"):
            page.click(button)

    sign_in(context, server)
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
    page.click("#groups summary")
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
    go_live(site.link)
    yield "link"
    go_live("/races/ten/?screen=1")
    yield "screen"
    go_live("/races/ten/?embed=1")
    yield "embed"
    for name, path in {
        "link-pin": site.pin,
        "link-ended": site.ended,
        "races": "/races/",
        "standings": "/races/ten/standings/",
        "api-organisers": "/api/organisers/",
        "web-page": "/races/ten/embed/",
        "standings-next": "/races/night/standings/",
        "standings-nobody": "/races/ten/standings/?q=zz",
        "entry": "/races/ten/runners/7/",
        "share-nobody": "/share/",
        "sign-in": "/sign-in/",
        "sign-up": "/sign-up/",
        "account-forgotten": "/account/password/reset/",
        "account-recover": "/account/password/reset/code/",
        "404": "/nothing/here/",
        "notifications-stop": site.stop,
        "notifications-confirm": site.confirm,
        "notifications-incomplete": "/notifications/stop/x/",
    }.items():
        go(path)
        yield name
    for name, html in site.errors.items():
        page.route("**/broken/", _answering(html))
        go("/broken/")
        page.unroute("**/broken/")
        yield name

    sign_in(context, server, site.sessions["mum"])
    for name, path in {
        "become": "/me/new/",
        "notifications": "/me/notifications/",
        "delete-account": "/me/account/delete/",
        "account-security": "/account/security/",
        "account-password": "/account/password/",
        "account-mail": "/account/mail/",
        "account-devices": "/account/sessions/",
        # This page asks for the password first.
        "account-confirm": "/account/security/totp/activate/",
    }.items():
        go(path)
        yield name
    page.fill("input[type=password]", PASSWORD)
    submit("main button[type=submit]")
    yield "account-app"
    go("/account/security/recovery-codes/generate/")
    yield "account-new-codes"
    submit("main button[type=submit]")
    yield "account-codes"
    go("/account/security/webauthn/add/")
    yield "account-passkey"

    sign_in(context, server, site.sessions["vera"])
    for name, path in {
        "share": "/share/",
        "phones": "/runners/vera/phones/",
        "phone": f"/runners/vera/phones/{site.token}/",
        "invitation": site.invitation,
        "me-files": "/me/files/",
        "me": "/me/",
    }.items():
        go(path)
        yield name
    submit("[action$='stop-link/'] button")
    yield "me-stop-link"
    go(urlsplit(page.input_value("#stop-url")).path)
    yield "stop"
    submit("main button")
    yield "stopped"
    go("/me/")
    page.evaluate(
        "for (const more of document.querySelectorAll('details')) more.open = true"
    )
    submit("[action$='erase/'] button")
    yield "me-wrong"
    go("/me/")
    page.click("#links summary")
    page.fill("#link_label", "Club")
    submit("#links details button[type=submit]")
    yield "me-link"
    go("/me/")
    page.click("#tokens summary")
    page.fill("#token_name", "Watch")
    submit("#tokens details button[type=submit]")
    yield "me-token"
    go("/runners/vera/phones/")
    submit("button[value=owntracks]")
    yield "phone-setup"

    sign_in(context, server, site.sessions["office"])
    race = f"/admin/runners/race/{site.race}"
    for name, path in {
        "office-desk": f"{race}/desk/",
        "office-swap": f"{race}/desk/swap/",
        "office-start-list": f"{race}/start-list/",
        "office-checkpoints": f"{race}/checkpoints/",
        "office-phones": f"{race}/phones/",
        "office-people": f"{race}/people/",
        "office-accounted": f"{race}/accounted/",
        "office-timing": f"{race}/timing/",
        "office-token": f"/admin/runners/runner/{site.runner}/issue-token/",
    }.items():
        go(path)
        yield name


def _answering(html: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(body=html, content_type="text/html")


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {320: 640, 390: 844, 1440: 900}
# Visible elements that reach over the page's edge, or whose text is cut off.
CUT = """() => [...document.querySelectorAll("body *")].filter((element) => {
  const {width, right} = element.getBoundingClientRect();
  const isHidden = element.closest(".visually-hidden, .skip, .map, svg");
  if (!width || isHidden || !element.checkVisibility()) return false;
  const hides = /hidden|clip/.test(getComputedStyle(element).overflowX);
  const isCut = hides && element.scrollWidth > element.clientWidth + 1;
  return isCut || right > innerWidth + 1;
}).map(({tagName, className, textContent: text}) =>
  `${tagName}.${className}: ${text.trim().replace(/\\s+/g, " ").slice(0, 60)}`)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--lang", default="en")
    parser.add_argument("--no-map", action="store_true", help="six times as fast")
    parser.add_argument("--widths", type=int, nargs="*", default=list(SIZES))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with Server(DEBUG="1") as server, chromium_browser() as browser:
        site = server.database(make_site)
        context = browser.new_context(base_url=server.url, locale=options.lang)
        if options.no_map:
            without_map(context)
        page = context.new_page()
        for name in pages(page, server, site):
            if options.words and not any(word in name for word in options.words):
                continue
            for width, scheme in product(options.widths, SCHEMES):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": SIZES[width]})
                page.wait_for_timeout(300)
                file = options.folder / f"{name}-{scheme}-{width}.png"
                is_map = page.locator("body.live").count() > 0
                page.screenshot(path=file, full_page=not is_map)
                if scheme == "light":
                    for cut in page.evaluate(CUT):
                        print(f"{name} at {width} px: {cut}", flush=True)
            page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})


if __name__ == "__main__":
    main()
