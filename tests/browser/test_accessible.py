"""What axe-core finds fault with on the pages, against WCAG 2.2 AA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.pages import LivePage, make_runner, publishing
from tests.servers import ROOT, Server
from tests.services import unavailable

AXE = ROOT / "node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def axe() -> Path:
    if not AXE.exists():
        unavailable("axe-core")
    return AXE


def faults(page: Page, axe: Path) -> list[str]:
    page.add_script_tag(path=str(axe))
    found: dict[str, Any] = page.evaluate(
        "(rules) => axe.run(document, {runOnly: rules})", RULES
    )
    return [
        f"{fault['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_fault_that_a_machine_finds(
    browser: Browser, web_server: Server, axe: Path, scheme: Any
) -> None:
    code = f"vi-{scheme}"
    context = browser.new_context(
        base_url=web_server.url, color_scheme=scheme, bypass_csp=True
    )
    page = LivePage(context.new_page())
    with publishing(web_server, make_runner(web_server, code, "Vi")) as vi:
        vi.publish(-6.3, 53.8, speed=3.1)
        page.open("/")
        page.star(code).click()
        assert faults(page.page, axe) == []
    page.page.goto("/sign-in/")
    assert faults(page.page, axe) == []
    context.close()
