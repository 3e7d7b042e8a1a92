"""What axe-core finds fault with on each page, against WCAG 2.2 AA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.gallery import LOOKS, make_world, pages
from tests.browser.pages import PATIENCE
from tests.servers import ROOT, Server
from tests.services import unavailable

AXE = ROOT / "node_modules/axe-core/axe.min.js"
RULES = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
}
# The same page in another look can only differ in these.
LOOK_RULES = {
    "type": "rule",
    "values": ["color-contrast", "link-in-text-block", "target-size"],
}
# A colour on its way to another is none that anybody reads.
STILL = "* { transition: none !important; }"


@pytest.fixture(scope="module")
def axe() -> Path:
    if not AXE.exists():
        unavailable("axe-core")
    return AXE


def faults(page: Page, rules: dict[str, Any]) -> list[str]:
    """What is wrong with a page; of one of the race office with what is ours of it."""
    found: dict[str, Any] = page.evaluate(
        """(rules) => axe.run(document.querySelector("#content") ?? document, {
             runOnly: rules, resultTypes: ["violations"],
             iframes: false, elementRef: false,
           })""",
        rules,
    )
    return [
        f"{fault['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def test_no_page_has_a_fault_that_a_machine_finds(
    browser: Browser, web_server: Server, axe: Path
) -> None:
    world = make_world(web_server)
    context = browser.new_context(base_url=web_server.url, bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    # The map is a picture for axe, and takes longest.
    page.route("**/maplibre-gl.mjs", lambda route: route.abort())
    found: list[str] = []
    for name in pages(page, world):
        page.evaluate(axe.read_text())
        page.add_style_tag(content=STILL)
        for n, (scheme, (width, height)) in enumerate(LOOKS[:2]):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": height})
            found += [
                f"{name}, {scheme}, {width}: {fault}"
                for fault in faults(page, LOOK_RULES if n else RULES)
            ]
    context.close()
    assert not found, "\n\n".join(found)
