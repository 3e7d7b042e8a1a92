"""The bell: from its press on a live page to a notification that links back to it.

Chromium's push service is not available: a local one replaces it, and DevTools deliver
its messages to the page's worker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Playwright, expect

from runners.models import Alert, Checkpoint, Entry
from runners.positions.storage import SplitChange, write_rows
from tests.browser.conftest import launch
from tests.browser.pages import LivePage, page_server, without_map
from tests.factories.people import make_runner
from tests.factories.positions import make_latest
from tests.factories.races import make_bare_race
from tests.notifying.push import PushService, push_service
from tests.servers import Server, checked
from tests.services import chromium_path
from tests.waiting import wait_until

# Replaces the browser's push service.
SUBSCRIBED = """
PushManager.prototype.subscribe = async function (options) {
  globalThis.subscribedWith = options;
  globalThis.subscribed = true;
  return { toJSON: () => (%s) };
};
PushManager.prototype.getSubscription = async () =>
  globalThis.subscribed ? { options: {}, unsubscribe: async () => true,
    toJSON: () => (%s) } : null;
"""

# Records each notification when the worker shows it, because a browser without a
# desktop may remove it immediately.
RECORD_NOTIFICATIONS = """() => {
  const show = registration.showNotification.bind(registration);
  globalThis.shown = [];
  registration.showNotification = async (title, options) => {
    await show(title, options);
    shown.push([title, options.tag, options.data.url]);
  };
}"""


def make_running_bob() -> Checkpoint:
    """Make Bob, visible in a race with a checkpoint; return the checkpoint.

    Bob stays live during the test, because the buttons of a live runner's row are
    pressed.
    """
    now = timezone.now()
    race = make_bare_race("half", now, name="Riverside Half")
    bob = make_runner("bob", "Bob Marsh")
    Entry.objects.create(race=race, runner=bob, bib="17", status="started")
    make_latest(bob, now + timedelta(hours=1), contact_at=now)
    return Checkpoint.objects.create(race=race, name="10 km", distance=10_000)


def pass_checkpoint(checkpoint: Checkpoint) -> None:
    """Make Bob pass a checkpoint now."""
    entry = checkpoint.race.entries.get()
    now = int(time.time() * 1000)
    write_rows((), [SplitChange(entry.pk, checkpoint.pk, 1, now, 1.0)])


@pytest.fixture(scope="module")
def service() -> Iterator[PushService]:
    with push_service() as service:
        yield service


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser that shows notifications."""
    yield from launch(playwright, chromium_path(notifies=True))


@pytest.fixture(scope="module")
def web_server(chromium: str) -> Iterator[Server]:
    yield from checked(page_server(SPECTATE_PUSH_LOCAL="1"))


@pytest.fixture(scope="module")
def ten(web_server: Server) -> Checkpoint:
    return web_server.database(make_running_bob)


@pytest.fixture
def context(browser: Browser, web_server: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=web_server.url,
        viewport={"width": 390, "height": 844},
        permissions=["notifications"],
    )
    without_map(context)
    yield context
    context.close()


def test_the_bell_notifies_of_a_runner_until_it_is_stopped(
    context: BrowserContext,
    web_server: Server,
    service: PushService,
    ten: Checkpoint,
) -> None:
    browser = service.browser()
    made = json.dumps(browser.subscription)
    context.add_init_script(SUBSCRIBED % (made, made))
    page = LivePage(context.new_page())
    devtools = context.new_cdp_session(page.page)
    registrations: set[str] = set()
    devtools.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: registrations.update(
            row["registrationId"] for row in event["registrations"]
        ),
    )
    devtools.send("ServiceWorker.enable")

    page.open("/runners/bob/")
    page.row("bob").get_by_role("button", name="Notify me").click()
    dialog = page.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Notify me about Bob Marsh")
    expect(dialog.get_by_label("Checkpoints")).to_be_checked()
    dialog.get_by_label("Finish").uncheck()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    assert page.page.evaluate("subscribedWith.userVisibleOnly") is True

    web_server.database(pass_checkpoint, ten)
    wait_until(lambda: service.posts)
    message = browser.read(service.posts[0].body)
    assert message["title"] == "Bob Marsh at 10 km"
    (registration,) = registrations
    (worker,) = context.service_workers
    worker.evaluate(RECORD_NOTIFICATIONS)
    devtools.send(
        "ServiceWorker.deliverPushMessage",
        {
            "origin": web_server.url,
            "registrationId": registration,
            "data": json.dumps(message),
        },
    )
    wait_until(lambda: worker.evaluate("globalThis.shown"))
    shown = worker.evaluate("globalThis.shown")
    assert shown == [[message["title"], message["tag"], "/runners/bob/"]]

    page.page.reload()
    page.wait_for_connection()
    page.page.evaluate("globalThis.subscribed = true")
    page.row("bob").get_by_role("button", name="Notify me").click()
    expect(dialog.get_by_label("Finish")).not_to_be_checked()
    dialog.get_by_role("button", name="Stop notifications").click()
    expect(dialog).to_be_hidden()
    assert web_server.database(Alert.objects.count) == 0
    assert page.errors == []
