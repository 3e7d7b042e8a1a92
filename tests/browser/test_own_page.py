"""The way from an account to a revoked link, for a runner and her mother."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from runners.models import Runner
from tests.browser.conftest import VIEWPORT
from tests.browser.pages import (
    LivePage,
    eventually,
    publishing,
    sign_in,
    without_map,
)
from tests.factories.people import make_office, make_runner, make_token, make_user
from tests.servers import Server

PASSWORD = "a long walk by the river"


def sign_up(page: Page, name: str) -> None:
    page.goto("/sign-up/?next=/me/")
    for field, text in (
        ("username", name),
        ("password1", PASSWORD),
        ("password2", PASSWORD),
    ):
        page.fill(f"[name={field}]", text)
    page.click("main button[type=submit]")
    page.wait_for_url("**/me/new/")


def become_runner(
    page: Page, name: str, visibility: str, *, has_script: bool = True
) -> None:
    page.fill("[name=name]", name)
    suggested = name.lower().replace(" ", "-")
    if has_script:
        expect(page.locator("[name=code]")).to_have_attribute("placeholder", suggested)
    page.check(f"[name=visibility][value={visibility}]")
    page.click("main button[type=submit]")
    page.wait_for_url("**/me/")


def new_runner(
    context: BrowserContext, server: Server, name: str, visibility: str
) -> Runner:
    """Make a runner with an account, and sign the browser in."""
    code = name.lower().replace(" ", "-")
    account = server.database(make_user, code)
    sign_in(context, server, account)
    return server.database(
        make_runner, code, name, visibility=visibility, account=account
    )


def new_token(page: Page) -> str:
    """Create a token on the runner's own page; return its plain text."""
    page.click("#tokens summary")
    page.fill("#token_name", "Phone")
    page.click("#tokens details button[type=submit]")
    return page.input_value("#token")


def new_link(page: Page, label: str, pin: str = "") -> str:
    """Create a share link; return its path."""
    page.goto("/me/")
    if not page.locator("#link_label").is_visible():
        page.click("#links summary")
    page.fill("#link_label", label)
    page.fill("#link_pin", pin)
    page.click("#links details button[type=submit]")
    return urlsplit(page.input_value("#link")).path


def test_a_runner_shares_a_link_and_revokes_it(
    page: LivePage, browser: Browser, web_server: Server
) -> None:
    sign_up(page.page, "vera")
    become_runner(page.page, "Vera Hill", "private")
    token = new_token(page.page)
    path = new_link(page.page, "Mum")

    private = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
    mum = LivePage(private.new_page())
    requests: list[Request] = []
    mum.page.on("request", lambda request: requests.append(request))
    with publishing(web_server, token) as phone:
        with phone.stay(-6.33, 53.35):
            mum.open(path)
            mum.row("vera-hill", "live").wait_for()
        phone.publish(-6.34, 53.36)
        mum.wait_for_marker("vera-hill", [-6.34, 53.36], "followed")

        # No other request and no Referer header contains the address.
        secret = path.split("/")[2]
        assert [secret in request.url for request in requests].count(True) == 1
        referrers = [request.headers.get("referer", "") for request in requests]
        assert not any(secret in address for address in referrers)

        page.page.goto("/me/")
        mums = page.page.locator("#links .item", has_text="Mum")
        expect(mums).to_contain_text("opened once")
        mums.get_by_role("button").click()
        text = "This link was revoked. Ask for a new one."
        expect(mum.page.locator("#connection")).to_have_text(text)
        expect(mum.page.locator("#empty")).to_have_text(text)
        expect(mum.row("vera-hill")).to_have_count(0)
        eventually(lambda: mum.markers("followed") == {})
    assert mum.errors == []
    mum.page.goto(path)
    expect(mum.page.locator("main")).to_contain_text(text)
    private.close()


def test_a_link_with_a_pin_opens_with_it_only(
    page: LivePage, context: BrowserContext, browser: Browser, web_server: Server
) -> None:
    wim = new_runner(context, web_server, "Wim Ford", "followers")
    path = new_link(page.page, "Club", pin="471100")
    with publishing(web_server, web_server.database(make_token, wim)) as phone:
        phone.publish(-6.33, 53.35)
    private = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
    without_map(private)
    visitor = LivePage(private.new_page())
    visitor.page.goto(path)
    for pin, text in (("1234", "The PIN is wrong."), ("471100", "Wim Ford")):
        visitor.page.fill("#pin", pin)
        visitor.page.click("main button")
        expect(visitor.page.locator("main")).to_contain_text(text)
    visitor.row("wim-ford").wait_for()
    assert visitor.errors == []
    private.close()


def test_a_follower_is_accepted_and_blocked(
    page: LivePage, context: BrowserContext, browser: Browser, web_server: Server
) -> None:
    xia = new_runner(context, web_server, "Xia Lake", "public")
    other_browser = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
    without_map(other_browser)
    sign_in(other_browser, web_server, web_server.database(make_user, "alice"))
    alice = LivePage(other_browser.new_page())
    with publishing(web_server, web_server.database(make_token, xia)) as phone:
        phone.publish(-6.33, 53.35)
        alice.open("/")
        with alice.page.expect_response("**/runners/xia-lake/follow/"):
            alice.star("xia-lake").click()
        page.page.goto("/me/")
        page.page.check("[name=visibility][value=followers]")
        page.page.click("#visibility button[type=submit]")
        expect(page.page.locator(".message")).to_contain_text("Saved.")
        follower = page.page.locator("#followers .item", has_text="alice")
        follower.get_by_role("button", name="Accept").click()
        expect(page.page.locator(".message")).to_contain_text("alice sees you now.")
        alice.open("/runners/xia-lake/")
        alice.row("xia-lake").wait_for()
        follower.get_by_role("button", name="Block").click()
        text = "Xia Lake is no longer shared with you."
        expect(alice.page.locator("#empty")).to_have_text(text)
        expect(alice.row("xia-lake")).to_have_count(0)
    assert alice.errors == []
    other_browser.close()


def test_signing_out_in_a_different_tab_is_shown(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    without_map(context)
    sign_in(context, web_server, web_server.database(make_user, "yan"))
    page.open("/")
    second = context.new_page()
    second.goto("/")
    second.get_by_role("button", name="Sign out").click()
    expect(page.page.locator("#connection")).to_contain_text("You were signed out.")
    expect(page.page.locator("#empty")).to_contain_text("Sign in again")


def test_erased_positions_disappear_from_an_open_map(
    page: LivePage, context: BrowserContext, browser: Browser, web_server: Server
) -> None:
    zoe = new_runner(context, web_server, "Zoe Dale", "public")
    other_browser = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
    alice = LivePage(other_browser.new_page())
    with publishing(web_server, web_server.database(make_token, zoe)) as phone:
        phone.publish(-6.33, 53.35)
        alice.open("/")
        alice.wait_for_marker("zoe-dale", [-6.33, 53.35])
        page.page.goto("/me/")
        page.page.get_by_text("Delete all positions").first.click()
        page.page.fill("#erase_confirm", "zoe-dale")
        page.page.get_by_role("button", name="Delete all positions").click()
        expect(page.page.locator(".message")).to_contain_text("1 position deleted")
        eventually(lambda: "zoe-dale" not in alice.markers())
    other_browser.close()


def test_a_zone_is_chosen_on_a_map_with_what_its_radius_withstands(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    nia = new_runner(context, web_server, "Nia Fell", "private")
    path = [[-6.33, 53.35], [-6.331, 53.351]]
    with publishing(web_server, web_server.database(make_token, nia)) as phone:
        for place in path:
            phone.publish(*place)
    page.page.goto("/me/")
    shown = page.page.locator("[data-zone-radius]:visible")
    for radius, measured in (("299", "200"), ("5000", "300"), ("", "100")):
        page.page.fill("#zone_radius", radius)
        expect(shown).to_have_count(1)
        expect(shown).to_have_attribute("data-zone-radius", measured)
    # The place can be chosen on a map.
    page.page.click("#zone-map-open")
    page.page.wait_for_function("() => globalThis.zoneMap")
    # Without streets, the own path shows where home is.
    page.page.wait_for_function(
        """async (path) => {
          const shown = await zoneMap.getSource("paths").getData();
          return JSON.stringify(shown.geometry.coordinates) === JSON.stringify([path]);
        }""",
        arg=path,
    )
    page.page.locator("#zone-map canvas").click()
    expect(page.page.locator("#zone_lat")).to_have_value(re.compile(r"^-?\d+\.\d{5}$"))
    expect(page.page.locator("#zone_lng")).to_have_value(re.compile(r"^-?\d+\.\d{5}$"))


def test_own_pages_work_on_a_phone_and_without_scripts(
    browser: Browser, web_server: Server
) -> None:
    context = browser.new_context(
        base_url=web_server.url,
        viewport={"width": 390, "height": 844},
        java_script_enabled=False,
    )
    page = context.new_page()
    sign_up(page, "uma")
    become_runner(page, "Uma Moor", "followers", has_script=False)
    token = new_token(page)
    assert re.fullmatch(r"[\w-]{43}", token)
    assert new_link(page, "Mum").startswith("/s/")
    page.goto("/me/")
    page.click("#sharing .primary")
    expect(page.locator("#sharing")).to_contain_text("Paused")
    context.close()


def test_no_page_violates_its_policy(page: LivePage, web_server: Server) -> None:
    """A violation is an error on the console, which fails the fixture."""
    web_server.database(make_office, PASSWORD)
    page.page.goto("/admin/")
    page.page.fill("[name=username]", "office")
    page.page.fill("[name=password]", PASSWORD)
    page.page.click("[type=submit]")
    for path in (
        *("/admin/", "/admin/runners/runner/", "/admin/runners/runner/add/"),
        *("/admin/runners/sharelink/add/", "/admin/runners/zone/add/"),
        *("/admin/runners/race/add/", "/admin/runners/follow/"),
        *("/admin/auth/user/add/", "/me/new/", "/me/account/delete/"),
    ):
        page.page.goto(path)
        page.page.wait_for_load_state("networkidle")
    page.page.goto("/me/new/")
    become_runner(page.page, "Office Runner", "public")
    page.page.goto("/runners/office-runner/phones/")
    page.page.wait_for_load_state("networkidle")
    page.open("/")
    page.page.wait_for_selector("#map canvas")
    page.page.wait_for_load_state("networkidle")
