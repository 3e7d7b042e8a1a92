"""A passkey signs in, with a virtual authenticator of Chromium."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.conftest import VIEWPORT
from tests.factories.people import make_user
from tests.servers import Server

PASSWORD = "a long walk by the river"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def test_a_passkey_signs_in_without_a_password(
    browser: Browser, web_server: Server
) -> None:
    web_server.database(make_user, "pat", PASSWORD)
    # A passkey belongs to a name, not to an address.
    base_url = web_server.url.replace("127.0.0.1", "localhost")
    context = browser.new_context(base_url=base_url, viewport=VIEWPORT)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    page.goto("/sign-in/?next=/account/security/webauthn/add/")
    page.get_by_label("Username").fill("pat")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="Recovery Codes")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    page.goto("/sign-in/?next=/account/security/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Authenticator app")).to_be_visible()
    context.close()
